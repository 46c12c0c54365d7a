"""Pure authorisation: who may do what with which key, and why. No I/O: a question that needs the cluster says so.

Called by operations.pipeline only. What may never enter: a clock, the network, a record store.
"""

from keystead.policy.actions import Action
from keystead.policy.caller import Caller, CallerKind, caller_of, root_caller, service_account_caller
from keystead.policy.evaluate import Decision, NeedReview, Question, evaluate
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
    "evaluate",
    "root_caller",
    "service_account_caller",
]
