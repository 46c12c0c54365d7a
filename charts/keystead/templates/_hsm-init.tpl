{{- define "keystead.initRules" -}}
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
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
- --to-cluster
{{- if .Values.hsm.init.recoveryRecipient }}
- --recovery-recipient
- /etc/keystead/recovery.pem
{{- else }}
- --accept-risk
{{- end }}
{{- end }}
