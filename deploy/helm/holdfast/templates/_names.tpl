{{/* Names, labels and images; every other template uses these. */}}

{{/* With `holdfast` in it, by which the alert rules find jobs, and short enough for what is put behind it. */}}
{{/* At most 40 characters, as others are put behind them; with `holdfast` in it, however long the release's name is. */}}
{{- define "holdfast.fullname" -}}
{{- $name := .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- contains "holdfast" $name | ternary $name (printf "%s-holdfast" (.Release.Name | trunc 31 | trimSuffix "-")) -}}
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
