{{/* Variables of whoever takes the Lease. */}}
{{- define "keystead.leaderEnvironment" -}}
{{- with .Values.operator -}}
- name: KEYSTEAD_WATCH_NAMESPACES
  value: {{ join "," .namespaces | quote }}
- name: KEYSTEAD_LEASE_DURATION
  value: {{ .lease.durationSeconds | quote }}
- name: KEYSTEAD_RENEW_DEADLINE
  value: {{ .lease.renewDeadlineSeconds | quote }}
- name: KEYSTEAD_RETRY_PERIOD
  value: {{ .lease.retryPeriodSeconds | quote }}
{{- end }}
{{- end }}

{{/* Variables that only the operator reads (settings.py). */}}
{{- define "keystead.operatorEnvironment" -}}
{{- with .Values.operator }}
{{ include "keystead.engineEnvironment" $ }}
- name: KEYSTEAD_WORKERS
  value: {{ .workers | quote }}
- name: KEYSTEAD_REFRESH_PERIOD
  value: {{ .refreshPeriodSeconds | quote }}
- name: KEYSTEAD_NAMESPACE_DEFAULT_POLICY
  value: {{ $.Values.policies.namespaceDefaultPolicy }}
{{ include "keystead.leaderEnvironment" $ }}
- name: KEYSTEAD_PROBE_PORT
  value: "8080"
{{- end }}
{{- end }}

{{- define "keystead.initContainerRest" -}}
resources:
  requests:
    cpu: 10m
    memory: 32Mi
  limits:
    memory: 128Mi
securityContext:
  {{- include "keystead.containerSecurityContext" . | nindent 2 }}
{{- end }}
