{{/*
Pieces of jobs and of the monitor; pods' own are in _pods.tpl, and which image is whose in _versions.tpl.
*/}}

{{/*
The spec of a pod that runs one command and ends; it takes a pod's dictionary (_pods.tpl) and

  name   of the container, behind `holdfast-`
  args   the command, a list of strings
*/}}
{{- define "holdfast.command" -}}
{{- $values := .root.Values -}}
restartPolicy: Never
{{ include "holdfast.pod" . }}
{{- if not .inline }}
serviceAccountName: {{ include "holdfast.serviceAccount" .root }}
{{- end }}
{{ include "holdfast.nodes" .root }}
containers:
  - name: holdfast-{{ .name }}
    image: {{ include "holdfast.image" .image }}
    imagePullPolicy: {{ $values.jobsImage.pullPolicy }}
    args: {{ toJson .args }}
    env:
      {{- include "holdfast.env" . | nindent 6 }}
    {{- with include "holdfast.envFrom" . | trim }}
    envFrom:
      {{- . | nindent 6 }}
    {{- end }}
    securityContext:
      {{- include "holdfast.securityContext" . | nindent 6 }}
    resources:
      {{- toYaml .resources | nindent 6 }}
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      {{- include "holdfast.mounts" . | nindent 6 }}
volumes:
  {{- include "holdfast.volumes" . | nindent 2 }}
{{- end -}}

{{/* Which nodes take jobs and the monitor. */}}
{{- define "holdfast.nodes" -}}
nodeSelector:
  {{- toYaml (.Values.jobs.nodeSelector | default dict) | nindent 2 }}
tolerations:
  {{- toYaml (.Values.jobs.tolerations | default list) | nindent 2 }}
{{- end -}}

{{/* What a CronJob says of when and how often; takes the schedule. */}}
{{- define "holdfast.schedule" -}}
schedule: {{ . | quote }}
timeZone: Etc/UTC
concurrencyPolicy: Forbid
# One that could not start is made up for within half an hour; else the next one does its work.
startingDeadlineSeconds: 1800
successfulJobsHistoryLimit: 1
failedJobsHistoryLimit: 3
{{- end -}}

{{/*
Which ends of a pod count. A node that is drained is no failure; a wrong command line (2) is none that another try
mends. Further exit codes that are final: `final`, a list.
*/}}
{{- define "holdfast.failures" -}}
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    - action: FailJob
      onExitCodes:
        operator: In
        values: {{ concat (list 2) (.final | default list) | toJson }}
{{- end -}}

{{/* Labels of a job's pod; no version of the chart. */}}
{{- define "holdfast.jobLabels" -}}
{{ include "holdfast.selector" . }}
app.kubernetes.io/component: job
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* A number as a command line has it: 1000000 is not 1e+06 there. */}}
{{- define "holdfast.seconds" -}}{{ int64 . }}{{- end -}}

{{/* Whether commands can run at all; empty if not. */}}
{{- define "holdfast.jobs" -}}
{{- with .Values.jobsImage.repository }}{{ . }}{{ end -}}
{{- end -}}

{{/*
Whose rows are kept up, as JSON: name (empty for the stable track), image (repository, tag, digest), and hook: whether
servers with these features start with this release. Two with the same fingerprint have the same rows.
*/}}
{{- define "holdfast.materialized" -}}
{{- $found := list -}}
{{- if and (include "holdfast.jobs" .) .Values.events .Values.jobs.materialize.enabled (include "holdfast.given" .Values.stores.online) -}}
{{- $stable := include "holdfast.version" (dict "root" . "track" "stable") | fromJson -}}
{{- $found = append $found (dict "name" "" "image" $stable.jobsImage "fingerprint" $stable.model.fingerprint "hook" true) -}}
{{- $others := list -}}
{{- if .Values.canary.enabled -}}
{{- if .Values.canary.promote -}}
{{- $others = append $others (dict "name" "former" "image" (pick .Values.jobsImage "repository" "tag" "digest") "fingerprint" .Values.model.fingerprint "hook" false) -}}
{{- else -}}
{{- $canary := include "holdfast.version" (dict "root" . "track" "canary") | fromJson -}}
{{- $others = append $others (dict "name" "canary" "image" $canary.jobsImage "fingerprint" $canary.model.fingerprint "hook" true) -}}
{{- end -}}
{{- end -}}
{{- range .Values.jobs.materialize.also -}}
{{- $parts := splitList "@" .image -}}
{{- $others = append $others (dict "name" .name "image" (dict "repository" (first $parts) "tag" "" "digest" (last $parts)) "fingerprint" .fingerprint "hook" false) -}}
{{- end -}}
{{- range $other := $others -}}
{{- $same := false -}}
{{- range $one := $found -}}
{{- $known := and $one.fingerprint $other.fingerprint -}}
{{- if or (and $known (eq $one.fingerprint $other.fingerprint)) (and (not $known) (eq (include "holdfast.image" $one.image) (include "holdfast.image" $other.image))) -}}
{{- $same = true -}}
{{- end -}}
{{- end -}}
{{- if not $same -}}{{- $found = append $found $other -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{/* Whether there is a monitor, which only this decides; empty if not. */}}
{{- define "holdfast.monitor" -}}
{{- if include "holdfast.jobs" . -}}
{{- if ne (toString .Values.monitor.enabled) "auto" -}}
{{- if .Values.monitor.enabled }}yes{{ end -}}
{{- else if not (include "holdfast.missing" (dict "root" . "stores" (list "predictions" "monitor"))) -}}
yes
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of a CronJob whose own part is `name`: Kubernetes takes 52 characters. Takes root and name. */}}
{{- define "holdfast.cronName" -}}
{{- $whole := printf "%s-%s" (include "holdfast.fullname" .root) .name -}}
{{- gt (len $whole) 52 | ternary (printf "%s-%s" (trunc 43 $whole | trimSuffix "-") (sha256sum $whole | trunc 8)) $whole -}}
{{- end -}}
