{{/* Names are fixed, not derived from the release: Leases, rights and docs name them. */}}
{{- define "keystead.recordsNamespace" -}}keystead-records{{- end }}
{{- define "keystead.tokenSecret" -}}keystead-token{{- end }}
{{- define "keystead.pinMarker" -}}keystead-pin-refused{{- end }}
{{- define "keystead.lease" -}}keystead-operator{{- end }}

{{/* Labels of every object. Call with (dict "root" $ "component" "operator"). */}}
{{- define "keystead.labels" -}}
{{ include "keystead.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: keystead
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end }}

{{- define "keystead.selectorLabels" -}}
app.kubernetes.io/name: keystead
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "keystead.image" -}}
{{- with .Values.operator.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{- end -}}
{{- end -}}
{{- end }}

{{/* The four kinds' resources. */}}
{{- define "keystead.kinds" -}}
[kmskeys, kmsaliases, kmsgrants, kmsdatakeys]
{{- end }}

{{/* Those that the operator reconciles. tests/chart/rights.py has the same list. */}}
{{- define "keystead.servedKinds" -}}
[kmskeys, kmsaliases, kmsgrants, kmsdatakeys]
{{- end }}

{{/* A subject for a binding: (dict "root" $ "account" "keystead-operator"). */}}
{{- define "keystead.subject" -}}
- kind: ServiceAccount
  name: {{ .account }}
  namespace: {{ .root.Release.Namespace }}
{{- end }}

{{/*
"true" where this render shall make a new domain by a Job. A token that is there is never made again: Secrets are
create-only. `lookup` finds nothing in `helm template`, where the Job is shown.
*/}}
{{- define "keystead.initJob" -}}
{{- if and (eq .Values.hsm.init.mode "job") .Values.hsm.softhsm.enabled -}}
{{- if not (lookup "v1" "Secret" .Release.Namespace (include "keystead.tokenSecret" .)) -}}true{{- end -}}
{{- end -}}
{{- end }}
