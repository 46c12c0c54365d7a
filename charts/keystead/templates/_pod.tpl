{{/* What the Pods of the operator, of the server and of the Jobs have in common. */}}

{{- define "keystead.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
# Secret files are root's; without a group of ours SoftHSM gets "Permission denied".
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "keystead.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Environment of everything that opens the token; settings.py names each variable. */}}
{{- define "keystead.hsmEnvironment" -}}
- name: KEYSTEAD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: KEYSTEAD_HSM_MODULE
  value: {{ .Values.hsm.module | quote }}
- name: KEYSTEAD_HSM_TOKEN_LABEL
  value: {{ .Values.hsm.tokenLabel | quote }}
- name: KEYSTEAD_HSM_KIND
  value: {{ .Values.hsm.kind | quote }}
- name: KEYSTEAD_PIN_SECRET
  value: {{ .Values.hsm.pinSecret | quote }}
{{- end }}

{{/*
The account's token as a volume, mounted only into the container that talks to the API server: the Pod's automatic
mount would give it to the init containers too.
*/}}
{{- define "keystead.accountVolume" -}}
- name: account
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          path: token
          expirationSeconds: 3607
      - configMap:
          name: kube-root-ca.crt
          items:
            - key: ca.crt
              path: ca.crt
      - downwardAPI:
          items:
            - path: namespace
              fieldRef:
                fieldPath: metadata.namespace
{{- end }}

{{- define "keystead.accountMount" -}}
- name: account
  mountPath: /var/run/secrets/kubernetes.io/serviceaccount
  readOnly: true
{{- end }}

{{/* Memory, not disk: the token and the PIN must not reach a node's disk. (dict "name" "token" "size" "1Mi") */}}
{{- define "keystead.memoryVolume" -}}
- name: {{ .name }}
  emptyDir:
    medium: Memory
    sizeLimit: {{ .size }}
{{- end }}

{{- define "keystead.scheduling" -}}
{{- include "keystead.schedulingOf" (dict "root" . "of" .Values.operator) }}
{{- end }}

{{/* Where Pods may run: (dict "root" $ "of" .Values.server). */}}
{{- define "keystead.schedulingOf" -}}
{{- with .root.Values.operator.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .of.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end }}

{{/* Where our Pods reach: DNS, the API server, and what operator.networkPolicy adds. */}}
{{- define "keystead.egress" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
# No address: the API server's endpoints are outside the Pod network, and not known to a chart.
- ports:
    {{- range .Values.operator.networkPolicy.apiServerPorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
{{- with .Values.operator.networkPolicy.extraEgress }}
{{- toYaml . | nindent 0 }}
{{- end }}
{{- end }}
