{{/* Names, labels and images; every other template uses these. */}}

{{- define "holdfast.fullname" -}}
{{- $name := .Values.fullnameOverride | default (contains "holdfast" .Release.Name | ternary .Release.Name (printf "%s-holdfast" .Release.Name)) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* What tells this release's objects from others, for ever: no version is in it. */}}
{{- define "holdfast.selector" -}}
app.kubernetes.io/name: holdfast
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "holdfast.labels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: holdfast
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* REPOSITORY@DIGEST, or REPOSITORY:TAG. */}}
{{- define "holdfast.image" -}}
{{- empty .digest | ternary (printf "%s:%s" .repository .tag) (printf "%s@%s" .repository .digest) -}}
{{- end -}}

{{- define "holdfast.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "holdfast.fullname" .) "default") -}}
{{- end -}}
