{{/* The audit trail of a process: (dict "of" .Values.server.audit "name" "server"). settings.py names each variable. */}}

{{- define "keystead.auditEnvironment" -}}
{{- with .of -}}
- name: KEYSTEAD_AUDIT_MODE
  value: {{ .mode | quote }}
- name: KEYSTEAD_AUDIT_STDOUT
  value: {{ .stdout | quote }}
- name: KEYSTEAD_AUDIT_BUFFER_SECONDS
  value: {{ .bufferSeconds | quote }}
{{- if ne .volume.type "none" }}
# Below the mount point: the folder is the process's own, 0700.
- name: KEYSTEAD_AUDIT_FOLDER
  value: /var/lib/keystead/audit/{{ $.name }}
- name: KEYSTEAD_AUDIT_FILE_BYTES
  value: {{ .fileBytes | int64 | quote }}
- name: KEYSTEAD_AUDIT_RETAIN_BYTES
  value: {{ .retainBytes | int64 | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "keystead.auditMount" -}}
{{- if ne .of.volume.type "none" -}}
- name: audit
  mountPath: /var/lib/keystead/audit
{{- end }}
{{- end }}

{{- define "keystead.auditVolume" -}}
{{- with .of.volume -}}
{{- if eq .type "emptyDir" -}}
- name: audit
  emptyDir:
    sizeLimit: {{ .sizeLimit | quote }}
{{- else if eq .type "existingClaim" -}}
- name: audit
  persistentVolumeClaim:
    claimName: {{ .claimName | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "keystead.validateAudit" -}}
{{- range $name, $of := dict "operator.audit" .Values.operator.audit "server.audit" .Values.server.audit -}}
{{- if and (ne $of.mode "off") (not $of.stdout) (eq $of.volume.type "none") -}}
{{- fail (printf "%s keeps no record anywhere: set %s.stdout=true, give it a volume, or say %s.mode=off" $name $name $name) -}}
{{- end -}}
{{- if and (eq $of.volume.type "existingClaim") (not $of.volume.claimName) -}}
{{- fail (printf "%s.volume.type=existingClaim needs %s.volume.claimName, a PersistentVolumeClaim in the release's namespace that all replicas can mount" $name $name) -}}
{{- end -}}
{{- if and (ne $of.volume.type "existingClaim") $of.volume.claimName -}}
{{- fail (printf "%s.volume.claimName is set, but %s.volume.type is %s and would not use it: set %s.volume.type=existingClaim" $name $name $of.volume.type $name) -}}
{{- end -}}
{{- end -}}
{{- end }}
