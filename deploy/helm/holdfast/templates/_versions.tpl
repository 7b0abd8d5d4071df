{{/*
What one track runs, as JSON: image, jobsImage (repository, tag, digest), model (tag, digest, fingerprint), extraEnv.
Takes root and track. The canary's is the stable one's but for what it has of its own; once promoted, the stable track
runs the canary's image and model.
*/}}
{{- define "holdfast.version" -}}
{{- $values := .root.Values -}}
{{- $stable := dict "image" $values.image "jobsImage" $values.jobsImage "model" $values.model -}}
{{- $canary := $values.canary -}}
{{- $own := dict -}}
{{- range list "image" "jobsImage" -}}
{{- $given := get $canary . -}}
{{- $base := get $stable . -}}
{{- $new := or $given.tag $given.digest -}}
{{- $_ := set $own . (dict
      "repository" ($given.repository | default $base.repository)
      "tag" (ternary $given.tag $base.tag (not (not $new)))
      "digest" (ternary $given.digest $base.digest (not (not $new)))) -}}
{{- end -}}
{{- $base := $values.model -}}
{{- if and (eq $base.source "image") (ne (include "holdfast.image" $own.image) (include "holdfast.image" $values.image)) -}}
{{- $base = dict "tag" "" "digest" "" "fingerprint" "" -}}{{/* another image has another model */}}
{{- end -}}
{{- $_ := set $own "model" (dict
      "tag" ($canary.model.tag | default $base.tag)
      "digest" ($canary.model.digest | default (ternary "" $base.digest (not (not $canary.model.tag))))
      "fingerprint" ($canary.model.fingerprint | default $base.fingerprint)) -}}
{{- $version := and $canary.enabled (or $canary.promote (eq .track "canary")) | ternary $own $stable -}}
{{- $env := list -}}
{{- if eq .track "canary" -}}
{{- $names := list -}}
{{- range $canary.extraEnv -}}{{- $names = append $names .name -}}{{- end -}}
{{- range $values.serving.extraEnv -}}{{- if not (has .name $names) -}}{{- $env = append $env . -}}{{- end -}}{{- end -}}
{{- $env = concat $env ($canary.extraEnv | default list) -}}
{{- else -}}
{{- $env = $values.serving.extraEnv -}}
{{- end -}}
{{- pick $version "image" "jobsImage" "model" | merge (dict "extraEnv" $env) | toJson -}}
{{- end -}}

{{/* The tracks that have pods, as JSON. */}}
{{- define "holdfast.tracks" -}}
{{- .Values.canary.enabled | ternary (list "stable" "canary") (list "stable") | toJson -}}
{{- end -}}
