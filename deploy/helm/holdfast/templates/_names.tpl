{{/* Names, labels and images; every other template uses these. */}}

{{/* With `holdfast` in it, by which the alert rules find jobs, and short enough for what is put behind it. */}}
{{- define "holdfast.fullname" -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $name := contains "holdfast" $release | ternary $release (printf "%s-holdfast" $release) -}}
{{- if gt (len $name) 30 -}}{{/* the hash keeps two releases apart that begin the same */}}
{{- $name = printf "%s-%s-holdfast" ($release | trunc 14 | trimSuffix "-") (sha256sum $release | trunc 6) -}}
{{- end -}}
{{- .Values.fullnameOverride | default $name -}}
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

{{/* REPOSITORY@DIGEST, or REPOSITORY:TAG; `none` where no repository is named, which is refused: `helm lint` goes on. */}}
{{- define "holdfast.image" -}}
{{- $repository := .repository | default "none" -}}
{{- empty .digest | ternary (printf "%s:%s" $repository (.tag | default "none")) (printf "%s@%s" $repository .digest) -}}
{{- end -}}

{{- define "holdfast.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (.Values.serviceAccount.create | ternary (include "holdfast.fullname" .) "default") -}}
{{- end -}}
