"""Pure authorisation: who may do what with which key, and why. No I/O: a question that needs the cluster says so.

Called by operations (operations.pipeline for each decision) and by whoever takes in a new policy document. What may never enter: a clock,
the network, a record store.

    documents   the document, parsed: principals.py, conditions.py (conditionkeys.py, operators.py: the two tables), wildcards.py
    compiled    statements by action, conditions as tests
    question    what is asked: caller, action, key, request; request.py says how conditions take their values from it
    evaluate    the decision; grants.py, reach.py (what is remembered of a caller), lockout.py
    explain     why it is so, for `kubectl kms`: supposed.py (what nobody said), rbac.py (which binding gave a right)
"""

from keystead.policy.actions import Action
from keystead.policy.caller import Caller, CallerKind, caller_of, root_caller, service_account_caller
from keystead.policy.compiled import compile_policy
from keystead.policy.evaluate import evaluate
from keystead.policy.question import Decision, NeedReview, Question
from keystead.policy.review import SubjectAccessReview

__all__ = [
    "Action",
    "Caller",
    "CallerKind",
    "Decision",
    "NeedReview",
    "Question",
    "SubjectAccessReview",
    "caller_of",
    "compile_policy",
    "evaluate",
    "root_caller",
    "service_account_caller",
]
