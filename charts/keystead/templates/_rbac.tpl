{{/*
Rights on the kinds that the operator reconciles, in every namespace or in each of operator.namespaces. RBAC cannot give less than `patch`
for a finalizer, nor bind `delete` to objects that the API made: admission policies narrow both. Never a write on spec.
*/}}
{{- define "keystead.servedRules" -}}
- apiGroups: [kms.keystead.io]
  resources: {{ include "keystead.servedKinds" . }}
  verbs: [get, list, watch]
- apiGroups: [kms.keystead.io]
  resources:
    {{- range fromYamlArray (include "keystead.servedKinds" .) }}
    - {{ . }}/status
    {{- end }}
  verbs: [patch]
# The finalizer kms.keystead.io/in-use; Keystead's own keys.
- apiGroups: [kms.keystead.io]
  resources: [kmskeys]
  verbs: [patch, create]
# Objects that the API made, after their key's destruction.
- apiGroups: [kms.keystead.io]
  resources: [kmskeys, kmsaliases, kmsgrants]
  verbs: [delete]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
{{- end }}

{{/*
A Role and its RoleBinding:
(dict "root" $ "name" .. "namespace" .. "account" .. "component" .. "rules" "text" "annotations" "text or empty").
*/}}
{{- define "keystead.boundRole" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  {{- include "keystead.boundRoleMetadata" . | nindent 2 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  {{- include "keystead.boundRoleMetadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
  {{- include "keystead.subject" . | nindent 2 }}
{{- end }}

{{- define "keystead.boundRoleMetadata" -}}
name: {{ .name }}
namespace: {{ .namespace }}
labels:
  {{- include "keystead.labels" . | nindent 2 }}
{{- with .annotations }}
annotations:
  {{- . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "keystead.recordsRules" -}}
# The only Secrets that the operator lists and watches. `delete` is for alias and grant records, which end with their objects; an
# admission policy refuses it for every other one.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, delete]
{{- end }}

{{- define "keystead.releaseRules" -}}
# The PIN's Secret is read for its resourceVersion, which the marker names; `get` cannot give less.
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ .Values.hsm.pinSecret }}]
  verbs: [get]
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "keystead.pinMarker" . }}]
  verbs: [get, patch]
# `create` cannot be bound to a name.
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "keystead.lease" . }}]
  verbs: [get, update]
{{- end }}

{{- define "keystead.dataKeyRules" -}}
# By name only: no list, no watch; own Secrets go by ownerReference, so no delete either.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, patch, create]
{{- end }}
