{{/* What the schema cannot say: one refusal a combination, each names the value and the fix. `helm lint` passes over `fail`. */}}
{{- define "keystead.validate" -}}
{{- $hsm := .Values.hsm -}}
{{- $records := include "keystead.recordsNamespace" . -}}
{{- if eq .Release.Namespace $records -}}
{{- fail (printf "the release's namespace must not be %s, which holds sealed records and nothing else: install into keystead-system" $records) -}}
{{- end -}}
{{- if and $hsm.softhsm.enabled (not $hsm.softhsm.acceptRisk) -}}
{{- fail (printf "hsm.softhsm.acceptRisk is not true: the chart would keep the SoftHSM token (Secret %s) beside its PIN (Secret %s) in the namespace %s, and whoever reads Secrets there, or etcd, can use and copy every key. Set hsm.softhsm.acceptRisk=true for a test or a demo, or hsm.softhsm.enabled=false with the hsm.module of a hardware or network HSM" (include "keystead.tokenSecret" .) $hsm.pinSecret .Release.Namespace) -}}
{{- end -}}
{{- if and $hsm.softhsm.enabled (eq $hsm.kind "HSM") -}}
{{- fail "hsm.kind is HSM, but SoftHSM is software: its keys must not claim a hardware slot. Set hsm.kind=TOKEN or hsm.softhsm.enabled=false" -}}
{{- end -}}
{{- if eq $hsm.init.mode "job" -}}
{{- include "keystead.validateJob" . -}}
{{- end -}}
{{- include "keystead.validateNamespaces" . -}}
{{- include "keystead.validateServer" . -}}
{{- include "keystead.validateAudit" . -}}
{{- with .Values.operator.lease -}}
{{- if not (and (lt (int .retryPeriodSeconds) (int .renewDeadlineSeconds)) (lt (int .renewDeadlineSeconds) (int .durationSeconds))) -}}
{{- fail "operator.lease: retryPeriodSeconds < renewDeadlineSeconds < durationSeconds must hold, or two replicas could lead at once" -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "keystead.validateJob" -}}
{{- $hsm := .Values.hsm -}}
{{- if not $hsm.softhsm.enabled -}}
{{- fail "hsm.init.mode=job makes a SoftHSM token, but hsm.softhsm.enabled is false: initialise your HSM with `keystead hsm init` and set hsm.init.mode=external" -}}
{{- end -}}
{{- if and (not $hsm.init.recoveryRecipient) (not $hsm.init.acceptRisk) -}}
{{- fail "hsm.init.recoveryRecipient is empty: the Job would have nobody to encrypt the recovery key to. Give a certificate with --set-file hsm.init.recoveryRecipient=recovery.pem, or set hsm.init.acceptRisk=true to keep the recovery key in the Secret keystead-recovery-key, in the clear" -}}
{{- end -}}
{{- if contains "PRIVATE KEY" $hsm.init.recoveryRecipient -}}
{{- fail "hsm.init.recoveryRecipient holds a private key: give the certificate only, and treat that key as known to whoever can read this release" -}}
{{- end -}}
{{- /* A domain exists whose token is gone: a second one could read none of its records. */ -}}
{{- if and .Release.IsInstall (include "keystead.initJob" .) (lookup "v1" "Secret" (include "keystead.recordsNamespace" .) "install") -}}
{{- fail (printf "the namespace %s holds an install record, but Secret %s is missing: a new token could not open its records. Restore the token from the domain backup and set hsm.init.mode=external" (include "keystead.recordsNamespace" .) (include "keystead.tokenSecret" .)) -}}
{{- end -}}
{{- end }}

{{- define "keystead.validateNamespaces" -}}
{{- $own := list .Release.Namespace (include "keystead.recordsNamespace" .) -}}
{{- if and .Values.dataKeys.allNamespaces .Values.dataKeys.namespaces -}}
{{- fail "dataKeys.allNamespaces=true and dataKeys.namespaces: give one of them" -}}
{{- end -}}
{{- if and .Values.dataKeys.allNamespaces .Values.operator.namespaces -}}
{{- fail "dataKeys.allNamespaces=true gives rights outside operator.namespaces: list dataKeys.namespaces instead" -}}
{{- end -}}
{{- range .Values.dataKeys.namespaces -}}
{{- if has . $own -}}
{{- fail (printf "dataKeys.namespaces: %s holds Keystead's own Secrets; data keys have no place there" .) -}}
{{- end -}}
{{- if and $.Values.operator.namespaces (not (has . $.Values.operator.namespaces)) -}}
{{- fail (printf "dataKeys.namespaces: %s is not in operator.namespaces, so no data key of it would be served" .) -}}
{{- end -}}
{{- end -}}
{{- end }}
