{{/*
Admission policies: who may write what (docs/security.md has the table that the tests compare). All are kept on
uninstall, because the objects and records that they guard are.

A call of `check` costs 350,000 of the 1,000,000 that one expression may cost, and of the 10,000,000 of one policy: so
one expression asks once, and a policy at most some 25 times.
*/}}

{{/* A policy and its binding: (dict "root" $ "name" .. "spec" "text"). */}}
{{- define "keystead.policy" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  {{- include "keystead.policyMetadata" . | nindent 2 }}
spec:
  failurePolicy: Fail
  {{- /* Versions are named, because the API server checks types only then; requests in another one are converted (matchPolicy Equivalent). */}}
  {{- .spec | nindent 2 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  {{- include "keystead.policyMetadata" . | nindent 2 }}
spec:
  policyName: {{ .name }}
  validationActions: [Deny]
{{- end }}

{{- define "keystead.policyMetadata" -}}
name: {{ .name }}
labels:
  {{- include "keystead.labels" (dict "root" .root "component" "policies") | nindent 2 }}
annotations:
  helm.sh/resource-policy: keep
{{- end }}

{{/* User name of one of our ServiceAccounts: (dict "root" $ "account" ..). */}}
{{- define "keystead.userName" -}}
system:serviceaccount:{{ .root.Release.Namespace }}:{{ .account }}
{{- end }}

{{/* For people: our own accounts are fenced elsewhere (the server asks for its caller), and Kubernetes cleans up. */}}
{{- define "keystead.policyAuthors" -}}
- name: not-keystead-itself
  expression: >-
    !(request.userInfo.username in ['{{ include "keystead.userName" (dict "root" . "account" "keystead-operator") }}',
    '{{ include "keystead.userName" (dict "root" . "account" "keystead-server") }}'])
- name: not-cleaning-up
  expression: >-
    !(request.operation == 'DELETE' && request.userInfo.username in
    ['system:serviceaccount:kube-system:namespace-controller',
    'system:serviceaccount:kube-system:generic-garbage-collector'])
{{- end }}

{{/* For our own accounts: the operator's, and that of the Job that takes finalizers away at an uninstall. */}}
{{- define "keystead.policyOwnAccounts" -}}
- name: keystead-itself
  expression: >-
    request.userInfo.username in ['{{ include "keystead.userName" (dict "root" . "account" "keystead-operator") }}',
    '{{ include "keystead.userName" (dict "root" . "account" "keystead-uninstall") }}']
{{- end }}

{{/* Variables of a policy on objects of ours. A DELETE has no `object`, a CREATE no `oldObject`. */}}
{{- define "keystead.policyVariables" -}}
- name: writes
  expression: request.operation != 'DELETE'
- name: updates
  expression: request.operation == 'UPDATE'
- name: creates
  expression: request.operation == 'CREATE'
# In a terminating namespace everything goes.
- name: deletes
  expression: request.operation == 'DELETE' && !has(namespaceObject.metadata.deletionTimestamp)
- name: name
  expression: "request.operation == 'DELETE' ? oldObject.metadata.name : object.metadata.name"
# A map, not an optional: `variables.x.?y` does not look into an optional that a variable holds.
- name: was
  expression: "variables.updates ? dyn(oldObject.spec) : dyn({})"
- name: notes
  expression: "variables.writes ? object.metadata.?annotations.orValue({}) : {}"
- name: notesBefore
  expression: "variables.updates ? oldObject.metadata.?annotations.orValue({}) : {}"
{{- end }}

{{/* A check, ready to be asked: (dict "group" .. "resource" .. "namespace" CEL "name" CEL). */}}
{{- define "keystead.policyTarget" -}}
authorizer.group('{{ .group | default "kms.keystead.io" }}').resource('{{ .resource }}').namespace({{ .namespace | default "request.namespace" }}).name({{ .name }})
{{- end }}

{{/*
One question: (dict "field" .. "when" CEL "verb" .. "on" CEL of a check "where" CEL of its words).
`verb` may be CEL in "verbs". The answer of the authorizer is asked only where `when` is true.
*/}}
{{- define "keystead.ask" -}}
{{- $verb := .verbs | default (printf "'%s'" .verb) -}}
- expression: >-
    !({{ .when }}) || {{ .on }}.check({{ $verb }}).allowed()
  message: {{ .field }} needs the verb {{ .verb | default "that issues data keys" }}
  messageExpression: >-
    '{{ .field }}: this needs the verb ' + {{ $verb }} + ' on ' + {{ .where }} + ', which ' + request.userInfo.username + ' does not have; {{ include "keystead.policyFix" . }}'
  reason: Forbidden
{{- end }}

{{/* The annotation by which an object takes over what an earlier namespace of this name left: of the kinds that depend on a key. */}}
{{- define "keystead.askAdopt" -}}
{{- $note := "kms.keystead.io/adopt" -}}
{{- $when := printf "'%s' in variables.notes && variables.notes[?'%s'] != variables.notesBefore[?'%s']" $note $note $note -}}
{{- $any := dict "on" "authorizer.group('kms.keystead.io').resource('kmskeys')" "where" "'kmskeys of the whole cluster (a ClusterRoleBinding)'" -}}
{{- include "keystead.ask" (merge (dict "field" (printf "annotation %s" $note) "verb" "adopt" "when" $when) $any) }}
{{- end }}

{{/* What helps. A test compares with the ClusterRoles of rbac-people.yaml. */}}
{{- define "keystead.policyFix" -}}
{{- $verb := .verb | default "" -}}
{{- if has $verb (list "hold" "adopt") -}}
no ClusterRole of the chart gives it: a cluster administrator binds a role with this verb
{{- else if .fix -}}
{{ .fix }}
{{- else if has $verb (list "putkeypolicy" "creategrant" "revokegrant" "tagresource" "untagresource" "enablekey" "disablekey" "schedulekeydeletion" "cancelkeydeletion") -}}
bind a role that gives it, such as ClusterRole keystead-admin
{{- else -}}
bind a role that gives it, such as ClusterRole keystead-edit
{{- end -}}
{{- end }}
