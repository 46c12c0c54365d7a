{{/* Annotations of the pre-delete hook; the argument is the weight. What succeeded leaves nothing, what failed leaves the Job's log. */}}
{{- define "keystead.uninstallHook" -}}
helm.sh/hook: pre-delete
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "keystead.uninstallRules" -}}
- apiGroups: [kms.keystead.io]
  resources: [kmskeys]
  verbs: [get, list, patch]
{{- end }}

{{/* To take the Lease from an operator that would put a finalizer back. */}}
{{- define "keystead.uninstallReleaseRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "keystead.lease" . }}]
  verbs: [get, update]
{{- end }}
