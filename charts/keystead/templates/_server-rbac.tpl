{{/*
Rights of `keystead server`. It reads records, and writes what a caller may write: custom resources, after a SubjectAccessReview of its own
for that caller. Never a status, never a record. tests/chart/rights.py says why for each right.
*/}}
{{- define "keystead.serverKindRules" -}}
# RBAC cannot say which fields: an admission policy narrows it to those that the API has.
- apiGroups: [kms.keystead.io]
  resources: [kmskeys, kmsaliases, kmsgrants]
  verbs: [get, list, create, patch, delete]
{{- end }}

{{/* Who calls, and what he may. Callers live in any namespace, served or not. */}}
{{- define "keystead.serverClusterRules" -}}
- apiGroups: [""]
  resources: [namespaces, serviceaccounts]
  verbs: [get]
- apiGroups: [authentication.k8s.io]
  resources: [tokenreviews]
  verbs: [create]
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}

{{- define "keystead.serverRecordsRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
# The sign of life, and no record.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [heartbeat]
  verbs: [update]
{{- end }}

{{- define "keystead.serverReleaseRules" -}}
# The PIN's Secret is read for its resourceVersion, which the marker names; `get` cannot give less.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Values.hsm.pinSecret }}]
  verbs: [get]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "keystead.pinMarker" . }}]
  verbs: [get, patch]
# keystead-usage-<n>: RBAC knows no prefix, so an admission policy narrows what is written.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, create, update]
{{- end }}
