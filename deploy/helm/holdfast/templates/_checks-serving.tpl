{{/*
Values that are right each by itself and cannot work together: one template for each such thing, listed in checks.yaml.
What it renders is what is wrong: which value, why, and what to do; nothing if all is well.
*/}}

{{- define "holdfast.check.image" -}}
{{- with .Values.image -}}
{{- if not .repository -}}
image.repository is empty, so there is nothing to run: name the image that `make image` built and you pushed; `holdfast release` writes it
{{- else if not (or .tag .digest) -}}
image.tag and image.digest are empty, and what an image without either is changes under a running release: give the digest, as `holdfast release` writes it
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.jobsImage" -}}
{{- with .Values.jobsImage -}}
{{- if and .repository (not (or .tag .digest)) -}}
jobsImage.tag and jobsImage.digest are empty: give one of them for {{ .repository }}, of the same code as the serving image
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.usecase" -}}
{{- $tags := dict "model.tag" .Values.model.tag -}}
{{- if .Values.canary.enabled -}}{{- $_ := set $tags "canary.model.tag" .Values.canary.model.tag -}}{{- end -}}
{{- range $where, $tag := $tags -}}
{{- if and $tag (not (hasPrefix (printf "%s:" $.Values.usecase) $tag)) }}
{{ $where }} is {{ $tag }}, but usecase is {{ $.Values.usecase }}: pods would look for models of {{ $.Values.usecase }}; name one of them, or set usecase to {{ splitList ":" $tag | first }}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.resources" -}}
{{- range $of := list (list "serving" "resources") (list "jobs" "resources") (list "jobs" "checkResources") (list "monitor" "resources") -}}
{{- $given := get (get $.Values (first $of)) (last $of) -}}
{{- range $what, $limit := $given.limits -}}
{{- $request := get $given.requests $what -}}
{{- if gt (include "holdfast.quantity" $request | float64) (include "holdfast.quantity" $limit | float64) }}
{{ join "." $of }}.requests.{{ $what }} is {{ $request }}, more than limits.{{ $what }}, which is {{ $limit }}: raise the limit or lower the request
{{- end -}}
{{- end -}}
{{- end -}}
{{- $memory := .Values.serving.resources.limits.memory -}}
{{- if lt (include "holdfast.quantity" $memory | float64) (include "holdfast.quantity" "256Mi" | float64) }}
serving.resources.limits.memory is {{ $memory }}: a server would be killed while it loads its model; give it 256Mi or more
{{- end -}}
{{- end -}}

{{/* A quantity without its unit: processors, or bytes. */}}
{{- define "holdfast.quantity" -}}
{{- $text := include "holdfast.text" . -}}
{{- $unit := regexFind "[A-Za-z]*$" $text -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- mulf (trimSuffix $unit $text) (get $units $unit) -}}
{{- end -}}

{{- define "holdfast.check.online" -}}
{{- $onRead := eq (toString (.Values.settings | default dict).online_read) "on-read" -}}
{{- if and .Values.events (not $onRead) (not (include "holdfast.given" .Values.stores.online)) -}}
stores.online is empty, but events is true: each pod would look for rows in a file of its own, which nothing fills; name Redis or PostgreSQL, or set events to false if {{ .Values.usecase }} has attributes only
{{- else if and .Values.events $onRead (not (include "holdfast.given" .Values.stores.events)) -}}
stores.events is empty, but settings.online_read is on-read: pods read the events themselves then; name their PostgreSQL
{{- end -}}
{{- end -}}

{{- define "holdfast.check.archive" -}}
{{- if eq .Values.model.source "archive" -}}
{{- if not (and .Values.model.tag .Values.model.digest) -}}
model.tag and model.digest are both needed, as model.source is archive: what is pulled is held against them; `holdfast models push` prints both
{{- else if not (include "holdfast.given" .Values.stores.archive) -}}
stores.archive is empty, but model.source is archive: say where models are pulled from, or set model.source to image
{{- else if not .Values.jobsImage.repository -}}
jobsImage.repository is empty, but model.source is archive: it is that image's `holdfast models pull` that brings the model into the pod
{{- else if and .Values.canary.enabled .Values.canary.model.tag (not .Values.canary.model.digest) -}}
canary.model.digest is empty, but canary.model.tag is {{ .Values.canary.model.tag }}: what is pulled is held against it; `holdfast models push` prints it
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.claim" -}}
{{- with .Values.stores.archive -}}
{{- if and (hasPrefix "file:" (.url | default "")) (not .claim) -}}
stores.archive.claim is empty, but stores.archive.url is {{ .url }}: a directory of the pod itself would be empty and go with it; name a PersistentVolumeClaim, or an object store
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.predictions" -}}
{{- if and (include "holdfast.monitor" .) (not (include "holdfast.given" .Values.stores.predictions)) -}}
stores.predictions is empty, but monitor.enabled is true: there would be no answers to watch, as a pod's own disk goes with it; name their PostgreSQL, or set monitor.enabled to false
{{- end -}}
{{- end -}}

{{- define "holdfast.check.canary" -}}
{{- $canary := .Values.canary -}}
{{- if $canary.enabled -}}
{{- $stable := dict "image" (include "holdfast.image" .Values.image) "tag" .Values.model.tag "digest" .Values.model.digest -}}
{{- $version := include "holdfast.version" (dict "root" . "track" "canary") | fromJson -}}
{{- $own := dict "image" (include "holdfast.image" $version.image) "tag" $version.model.tag "digest" $version.model.digest -}}
{{- $archive := eq .Values.model.source "archive" -}}
{{- $same := and (eq $own.image $stable.image) (or (not $archive) (and (eq $own.tag $stable.tag) (eq $own.digest $stable.digest))) -}}
{{- if and $same $canary.promote -}}
canary.promote is true, but the canary's image and model are the stable ones: there is nothing to promote; set promote and canary.enabled to false
{{- else if and $same (not $canary.extraEnv) -}}
canary.enabled is true, but the canary would run what the stable pods run: set canary.image{{ if $archive }} or canary.model{{ end }}, or canary.enabled to false
{{- end -}}
{{- else if $canary.promote -}}
canary.promote is true, but canary.enabled is false: the stable pods would go back to what they ran before; put the canary's image and model into image and model, and set promote to false
{{- end -}}
{{- end -}}

{{- define "holdfast.check.replicas" -}}
{{- with .Values.serving.autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
serving.autoscaling.minReplicas is {{ .minReplicas }}, more than maxReplicas, which is {{ .maxReplicas }}: raise maxReplicas or lower minReplicas
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.keda" -}}
{{- if include "holdfast.keda" . -}}
{{- with .Values.serving.autoscaling -}}
{{- if not .inFlight.enabled -}}
serving.autoscaling.inFlight.enabled is false, but kind is keda: requests in flight are what KEDA is there for; set it to true, or kind to hpa, which scales on CPU alone
{{- else if not .keda.prometheus -}}
serving.autoscaling.keda.prometheus is empty, but kind is keda: say where Prometheus answers
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.rollout" -}}
{{- with .Values.serving -}}
{{- if le (int .progressDeadlineSeconds) (int .startupSeconds) -}}
serving.progressDeadlineSeconds is {{ .progressDeadlineSeconds }}, but a pod may take serving.startupSeconds, {{ .startupSeconds }}, to start: rollouts that are well would be called failed; make it larger
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.ingress" -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
ingress.host is empty, but ingress.enabled is true: without it the Ingress would take every host's requests; name it
{{- end -}}
{{- end -}}

{{- define "holdfast.check.gateway" -}}
{{- with .Values.gateway -}}
{{- if and .enabled (not .parentRefs) -}}
gateway.parentRefs is empty, but gateway.enabled is true: routes that are attached to no Gateway get no requests; name one
{{- else if and .enabled .grpcHostnames (not .hostnames) -}}
gateway.hostnames is empty, but gateway.grpcHostnames is not: the HTTPRoute would take all names, and of two kinds of route for one name a listener takes the older one only; give both their own
{{- else if .enabled -}}
{{- range .grpcHostnames -}}
{{- if has . $.Values.gateway.hostnames -}}
gateway.grpcHostnames and gateway.hostnames both have {{ . }}: of two kinds of route for one name a listener takes the older one only; give gRPC a name of its own
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.egress" -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- $there := list -}}
{{- range $store, $at := .Values.stores -}}
{{- if and (include "holdfast.given" $at) (not (hasPrefix "file:" ($at.url | default ""))) -}}{{- $there = append $there $store -}}{{- end -}}
{{- end -}}
{{- with $there -}}
networkPolicy.egress is empty, but stores.{{ join ", stores." . }} {{ len . | eq 1 | ternary "is" "are" }} somewhere: nothing could connect there; name what may be reached, or set networkPolicy.enabled to false
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "holdfast.check.clients" -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.clients) -}}
{{- $from := list -}}
{{- if .Values.ingress.enabled -}}{{- $from = append $from "ingress.enabled is true" -}}{{- end -}}
{{- if .Values.gateway.enabled -}}{{- $from = append $from "gateway.enabled is true" -}}{{- end -}}
{{- if ne .Values.serving.service.type "ClusterIP" -}}{{- $from = append $from (printf "serving.service.type is %s" .Values.serving.service.type) -}}{{- end -}}
{{- with $from -}}
networkPolicy.clients is empty, so that only pods of this namespace may ask, but {{ join " and " . }}: requests from there would be dropped; name the namespace or the addresses that they come from
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether a store is somewhere; empty if not. */}}
{{- define "holdfast.given" -}}
{{- if or .secret (not (has (.url | default "") (list "" "none:"))) -}}yes{{- end -}}
{{- end -}}
