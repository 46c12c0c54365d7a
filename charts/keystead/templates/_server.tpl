{{/* Variables that only `keystead server` reads (settings.py). */}}
{{- define "keystead.serverEnvironment" -}}
{{- with .Values.server }}
{{ include "keystead.engineEnvironment" $ }}
- name: KEYSTEAD_SERVER_PORT
  value: "8443"
- name: KEYSTEAD_SERVER_PROBE_PORT
  value: "8081"
- name: KEYSTEAD_SERVER_WORKERS
  value: {{ .workers | quote }}
- name: KEYSTEAD_TLS_CERT
  value: /run/keystead/tls/tls.crt
- name: KEYSTEAD_TLS_KEY
  value: /run/keystead/tls/tls.key
- name: KEYSTEAD_MAX_STALE
  value: {{ .maxStaleSeconds | quote }}
- name: KEYSTEAD_DRAIN
  value: {{ .drainSeconds | quote }}
- name: KEYSTEAD_LAME_DUCK
  value: {{ .lameDuckSeconds | quote }}
{{- with include "keystead.auditPeers" $ }}
- name: KEYSTEAD_AUDIT_PEERS
  value: {{ . | quote }}
{{- end }}
{{- if or (ne .quota.preset "off") .quota.limits }}
- name: KEYSTEAD_QUOTA
  value: {{ toJson .quota | quote }}
- name: KEYSTEAD_QUOTA_SHARE
  value: {{ .replicas | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Under which name a Pod finds the others, whose audit records lie in volumes of their own; nothing where all write to one volume, or none. */}}
{{- define "keystead.auditPeers" -}}
{{- if and (eq .Values.server.audit.volume.type "emptyDir") (ne .Values.server.audit.mode "off") -}}
keystead-server-peers.{{ .Release.Namespace }}.svc:8443
{{- end -}}
{{- end }}

{{/* The Secret with tls.crt and tls.key. One name a mode: no mode ever writes into another's. */}}
{{- define "keystead.tlsSecret" -}}
{{- with .Values.server.tls -}}
{{- if eq .mode "existingSecret" -}}{{ .existingSecret }}
{{- else if eq .mode "certManager" -}}keystead-server-cert
{{- else -}}keystead-server-tls{{- end -}}
{{- end -}}
{{- end }}

{{- define "keystead.tlsNames" -}}
{{- $name := "keystead-server" -}}
{{- $full := printf "%s.%s" $name .Release.Namespace -}}
{{- concat (list $name $full (printf "%s.svc" $full) (printf "%s.svc.cluster.local" $full)) .Values.server.tls.dnsNames | uniq | toJson -}}
{{- end }}

{{- define "keystead.validateServer" -}}
{{- with .Values.server.tls -}}
{{- if and (eq .mode "existingSecret") (not .existingSecret) -}}
{{- fail "server.tls.mode=existingSecret needs server.tls.existingSecret, the name of a Secret with tls.crt and tls.key in the release's namespace" -}}
{{- end -}}
{{- if and (ne .mode "existingSecret") .existingSecret -}}
{{- fail (printf "server.tls.existingSecret is set, but server.tls.mode is %s and would not use it: set server.tls.mode=existingSecret" .mode) -}}
{{- end -}}
{{- if and (eq .mode "certManager") (not .issuerRef.name) -}}
{{- fail "server.tls.mode=certManager needs server.tls.issuerRef.name, an Issuer or ClusterIssuer that signs for names of Services" -}}
{{- end -}}
{{- if has .existingSecret (list $.Values.hsm.pinSecret (include "keystead.tokenSecret" $)) -}}
{{- fail (printf "server.tls.existingSecret: %s is Keystead's own Secret, and no TLS certificate" .existingSecret) -}}
{{- end -}}
{{- end -}}
{{- end }}
