{{- define "keystead.initRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
{{- end }}

{{/* In the records' namespace also: whose cluster it is already, and the namespace's uid for the install record. */}}
{{- define "keystead.initRecordsRules" -}}
{{ include "keystead.initRules" . }}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [install]
  verbs: [get]
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [{{ include "keystead.recordsNamespace" . }}]
  verbs: [get]
{{- end }}

{{/* Annotations of what the ceremony needs and nobody afterwards; the argument is the weight. */}}
{{- define "keystead.initHook" -}}
helm.sh/hook: pre-install
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}

{{- define "keystead.initArguments" -}}
- hsm
- init
# A folder in the volume, not the volume: the finished token is renamed into place.
- --softhsm-dir
- /run/keystead/ceremony/token
- --to-cluster
{{- if .Values.hsm.init.recoveryRecipient }}
- --recovery-recipient
- /etc/keystead/recovery.pem
{{- else }}
- --accept-risk
{{- end }}
{{- end }}
