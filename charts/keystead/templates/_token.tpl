{{/* Token and PIN in a Pod that opens them: the operator's and the server's. */}}

{{- define "keystead.tokenInitContainers" -}}
{{- if .Values.hsm.softhsm.enabled }}
# SoftHSM does not find a token among a Secret volume's symbolic links (NoSuchToken), and an update of the Secret
# must not swap the token under an open session. So: real folders in memory, with their softhsm2.conf.
- name: unpack-token
  image: {{ include "keystead.image" . }}
  imagePullPolicy: {{ .Values.operator.image.pullPolicy }}
  args: [hsm, unpack-token, /secret/token, /run/keystead/token]
  {{- include "keystead.initContainerRest" . | nindent 2 }}
  volumeMounts:
    - name: token-secret
      mountPath: /secret/token
      readOnly: true
    - name: token
      mountPath: /run/keystead/token
{{- end }}
- name: copy-pin
  image: {{ include "keystead.image" . }}
  imagePullPolicy: {{ .Values.operator.image.pullPolicy }}
  # -L: without it only dangling links arrive.
  command: [cp, -L, /secret/pin/pin, /run/keystead/pin/pin]
  {{- include "keystead.initContainerRest" . | nindent 2 }}
  volumeMounts:
    - name: pin-secret
      mountPath: /secret/pin
      readOnly: true
    - name: pin
      mountPath: /run/keystead/pin
{{- end }}

{{/* With the account's token, and a /tmp. */}}
{{- define "keystead.tokenMounts" -}}
{{- include "keystead.accountMount" . | nindent 0 }}
{{- if .Values.hsm.softhsm.enabled }}
# Read-only: a login that is killed while SoftHSM writes token.object would destroy the token.
- name: token
  mountPath: /run/keystead/token
  readOnly: true
{{- end }}
- name: pin
  mountPath: /run/keystead/pin
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- end }}

{{- define "keystead.tokenVolumes" -}}
{{- include "keystead.accountVolume" . | nindent 0 }}
{{- if .Values.hsm.softhsm.enabled }}
- name: token-secret
  secret:
    secretName: {{ include "keystead.tokenSecret" . }}
    defaultMode: 0440
{{- include "keystead.memoryVolume" (dict "name" "token" "size" "4Mi") | nindent 0 }}
{{- end }}
- name: pin-secret
  secret:
    secretName: {{ .Values.hsm.pinSecret }}
    defaultMode: 0440
    items:
      - key: pin
        path: pin
{{- include "keystead.memoryVolume" (dict "name" "pin" "size" "1Mi") | nindent 0 }}
{{- include "keystead.memoryVolume" (dict "name" "tmp" "size" "16Mi") | nindent 0 }}
{{- end }}

{{/* Variables of whoever opens the token to use keys (settings.py). */}}
{{- define "keystead.engineEnvironment" -}}
{{- if .Values.hsm.softhsm.enabled -}}
# Written by unpack-token, beside the token that it names.
- name: SOFTHSM2_CONF
  value: /run/keystead/token/softhsm2.conf
{{ end -}}
- name: KEYSTEAD_HSM_PIN_FILE
  value: /run/keystead/pin/pin
- name: KEYSTEAD_HSM_SOFTWARE_PROTECTION
  value: {{ .Values.hsm.softwareProtection | quote }}
- name: KEYSTEAD_HSM_SLOW_LANES
  value: {{ .Values.hsm.slowLanes | quote }}
- name: KEYSTEAD_REGION
  value: {{ .Values.operator.region | quote }}
- name: KEYSTEAD_KEYS_PER_NAMESPACE
  value: {{ int .Values.operator.keysPerNamespace | quote }}
{{- end }}
