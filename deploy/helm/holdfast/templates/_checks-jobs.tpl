{{/* As _checks-serving.tpl: what of jobs, monitoring and metrics cannot work together. */}}

{{/* Stores of a list that are not given, as `stores.a and stores.b are empty`; nothing if there are all. Takes root and stores. */}}
{{- define "holdfast.missing" -}}
{{- $missing := list -}}
{{- range .stores -}}
{{- if not (include "holdfast.given" (get $.root.Values.stores .)) -}}{{- $missing = append $missing (printf "stores.%s" .) -}}{{- end -}}
{{- end -}}
{{- with $missing -}}
{{ join " and " . }} {{ len . | eq 1 | ternary "is" "are" }} empty
{{- end -}}
{{- end -}}

{{- define "holdfast.check.asked" -}}
{{- if not .Values.jobsImage.repository -}}
{{- $asked := list -}}
{{- range list "ingest" "retrain" "score" -}}
{{- if (get $.Values.jobs .).enabled -}}{{- $asked = append $asked (printf "jobs.%s.enabled" .) -}}{{- end -}}
{{- end -}}
{{- if eq (toString .Values.monitor.enabled) "true" -}}{{- $asked = append $asked "monitor.enabled" -}}{{- end -}}
{{- if and .Values.canary.enabled .Values.canary.judge.enabled (not .Values.canary.promote) -}}{{- $asked = append $asked "canary.judge.enabled" -}}{{- end -}}
{{- with $asked -}}
jobsImage.repository is empty, but {{ join " and " . }} {{ len . | eq 1 | ternary "is" "are" }} true: only that image has the `holdfast` command; name the one that `make image` built, or set what is asked for to false
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.ingest" -}}
{{- with .Values.jobs.ingest -}}
{{- if .enabled -}}
{{- if not (or .url .secret) -}}
jobs.ingest.url and jobs.ingest.secret are empty, but jobs.ingest.enabled is true: say which PostgreSQL the rows are in
{{- end -}}
{{- with include "holdfast.missing" (dict "root" $ "stores" (list "events")) }}
{{ . }}, but jobs.ingest.enabled is true: what is ingested into a pod's own disk goes with it; name a PostgreSQL
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.materialize" -}}
{{- if include "holdfast.materialized" . | fromJsonArray -}}
{{- with include "holdfast.missing" (dict "root" . "stores" (list "events")) -}}
{{ . }}, but jobs.materialize.enabled is true: online rows are computed from events, and a pod's own disk has none; name their PostgreSQL, or set jobs.materialize.enabled to false if others fill stores.online
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.also" -}}
{{- $names := list "canary" "former" -}}
{{- range .Values.jobs.materialize.also -}}
{{- if has .name $names }}
jobs.materialize.also has the name {{ .name }}, which is another CronJob's: give each a name of its own; canary and former are the chart's
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.fingerprint" -}}
{{- if and .Values.canary.enabled .Values.jobsImage.repository .Values.events .Values.jobs.materialize.enabled -}}
{{- $canary := include "holdfast.version" (dict "root" . "track" "canary") | fromJson -}}
{{- $known := and $canary.model.fingerprint .Values.model.fingerprint -}}
{{- if and $known (ne $canary.model.fingerprint .Values.model.fingerprint) (eq (include "holdfast.image" $canary.jobsImage) (include "holdfast.image" .Values.jobsImage)) -}}
canary.model.fingerprint is not model.fingerprint, but canary.jobsImage is the stable one: nothing would compute the canary's online rows, and it would never be ready; give canary.jobsImage, of the same code as the canary's image
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.retrain" -}}
{{- with .Values.jobs.retrain -}}
{{- if .enabled -}}
{{- with include "holdfast.missing" (dict "root" $ "stores" (list "events" "registry" "archive")) }}
{{ . }}, but jobs.retrain.enabled is true: it learns from the events, and what it makes would be gone with its pod; name PostgreSQL for events and registry, and an object store or a volume for the archive
{{- end -}}
{{- if and .whenAsked (include "holdfast.jobs" $) (not (include "holdfast.monitor" $)) }}
{{ with include "holdfast.missing" (dict "root" $ "stores" (list "predictions" "monitor")) }}{{ . }}, and so there is no monitor{{ else }}monitor.enabled is false{{ end }}, but jobs.retrain.whenAsked is true: nobody would ask for a model; have a monitor, or set whenAsked to false
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.score" -}}
{{- with .Values.jobs.score -}}
{{- if .enabled -}}
{{- if not (or .to .secret) }}
jobs.score.to and jobs.score.secret are empty, but jobs.score.enabled is true: say which table of a PostgreSQL the scores go to, or which directory below /archive
{{- end -}}
{{- if and (hasPrefix "/" (.to | default "")) (not $.Values.stores.archive.claim) }}
jobs.score.to is {{ .to }}, but stores.archive.claim is empty: that directory would go with the pod; name the PersistentVolumeClaim that is mounted there, or a table of a PostgreSQL
{{- end -}}
{{- with include "holdfast.missing" (dict "root" $ "stores" (list "events")) }}
{{ . }}, but jobs.score.enabled is true: those who are scored are in there; name its PostgreSQL
{{- end -}}
{{- if and (not $.Values.model.tag) (include "holdfast.missing" (dict "root" $ "stores" (list "registry"))) }}
model.tag and stores.registry are empty, but jobs.score.enabled is true: one of them says which model scores; `holdfast release` writes model.tag
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.monitor" -}}
{{- if include "holdfast.monitor" . -}}
{{- with include "holdfast.missing" (dict "root" . "stores" (list "monitor")) -}}
{{ . }}, but monitor.enabled is true: windows and verdicts on a pod's own disk go with it; name their PostgreSQL, or set monitor.enabled to false
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.volume" -}}
{{- with .Values.stores.archive -}}
{{- if and .claim .url (not (hasPrefix "file:///archive" .url)) -}}
stores.archive.claim is {{ .claim }}, but stores.archive.url is {{ .url }}: the claim is mounted at /archive, and nothing would be there; set the URL to file:///archive, or leave the claim out
{{- else if and .claim (not .url) (not .secret) -}}
stores.archive.url is empty, but stores.archive.claim is {{ .claim }}: set it to file:///archive, where the claim is mounted
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.names" -}}
{{- $name := include "holdfast.fullname" . -}}
{{- if and (contains "monitor" $name) (or .Values.metrics.rules.enabled .Values.metrics.serviceMonitor.enabled) -}}
objects would be called {{ $name }}, and what has monitor in its name is no server to the alert rules, so that they would not see when it is down; give fullnameOverride
{{- end -}}
{{- end -}}
