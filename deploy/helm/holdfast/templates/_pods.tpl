{{/*
Pieces of every pod. Each takes one dictionary, made once by the template that includes them:

  root       the template's own context, `$`
  role       `serving`, `jobs` (commands that need models, and the monitor), `data` (commands that need none),
             `model` (the init container that pulls one), `test` (what only asks servers)
  image      repository, tag and digest of the container's image
  track      `stable` or `canary`
  resources  those of the container; its disk's limit bounds the volumes
  extraEnv   further variables; may be left out
  secrets    further keys of Secrets, each with variable, name, key and path; may be left out
  inline     settings as variables instead of from the ConfigMap: hooks run before it is there
*/}}

{{/* What all pods say of themselves; part of a pod's spec. */}}
{{- define "holdfast.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- toYaml .root.Values.podSecurityContext | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Of every container. */}}
{{- define "holdfast.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What is set the same for all pods and is no secret, as a ConfigMap has it. */}}
{{- define "holdfast.settings" -}}
HOLDFAST_USECASE: {{ .Values.usecase | quote }}
HOLDFAST_HOME: /var/lib/holdfast
HOLDFAST_DRAIN_S: {{ include "holdfast.text" .Values.serving.drainSeconds | quote }}
{{- range $store, $at := .Values.stores }}
{{- if not $at.secret }}
{{- with $at.url | default (eq $store "predictions" | ternary "none:" "") }}
HOLDFAST_{{ upper $store }}_URL: {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- range $name, $value := dict "user" (include "holdfast.fullname" .) | merge (deepCopy (.Values.settings | default dict)) }}
{{- if not (kindIs "invalid" $value) }}
HOLDFAST_{{ upper $name }}: {{ include "holdfast.text" $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A value as an environment variable has it: lists with commas, and 1000000 not as 1e+06. */}}
{{- define "holdfast.text" -}}
{{- if kindIs "slice" . }}{{ join "," . }}
{{- else if kindIs "float64" . }}{{ eq . (floor .) | ternary (int64 . | toString) (toString .) }}
{{- else }}{{ toString . }}
{{- end }}
{{- end -}}

{{/* The Secrets' keys that a role reads, as JSON: variable, name, key, path below /etc/holdfast/secrets. */}}
{{- define "holdfast.secrets" -}}
{{- $values := .root.Values -}}
{{- $stores := dict "serving" (list "online" "predictions" "registry") "model" (list "archive" "registry") "test" list
      "jobs" (list "archive" "events" "monitor" "online" "predictions" "registry")
      "data" (list "events" "monitor" "online" "predictions" "registry") -}}
{{- $wanted := get $stores .role -}}
{{- if and (eq .role "serving") (eq (toString ($values.settings | default dict).online_read) "on-read") -}}
{{- $wanted = append $wanted "events" -}}
{{- end -}}
{{- $found := list -}}
{{- range $store := $wanted -}}
{{- with (get $values.stores $store).secret -}}
{{- $found = append $found (dict "variable" (printf "HOLDFAST_%s_URL_FILE" (upper $store)) "name" .name "key" .key "path" (printf "%s-url" $store)) -}}
{{- end -}}
{{- end -}}
{{- if has .role (list "serving" "jobs") -}}
{{- with $values.secrets.idHmacKey -}}
{{- $found = append $found (dict "variable" "HOLDFAST_ID_HMAC_KEY_FILE" "name" .name "key" .key "path" "id-hmac-key") -}}
{{- end -}}
{{- end -}}
{{- if eq .role "serving" -}}
{{- with $values.secrets.apiKeys -}}
{{- $found = append $found (dict "variable" "HOLDFAST_API_KEYS_FILE" "name" .name "key" .key "path" "api-keys") -}}
{{- end -}}
{{- with $values.secrets.tls -}}
{{- $found = append $found (dict "variable" "HOLDFAST_TLS_CERT" "name" . "key" "tls.crt" "path" "tls.crt") -}}
{{- $found = append $found (dict "variable" "HOLDFAST_TLS_KEY" "name" . "key" "tls.key" "path" "tls.key") -}}
{{- end -}}
{{- end -}}
{{- concat $found (.secrets | default list) | toJson -}}
{{- end -}}

{{/* A container's variables; its `envFrom` is "holdfast.envFrom". */}}
{{- define "holdfast.env" -}}
- name: HOLDFAST_IMAGE
  value: {{ .image.digest | default (printf "%s:%s" .image.repository .image.tag) | quote }}
- name: HOLDFAST_TRACK
  value: {{ .track }}
{{- if .inline }}
{{- range $name, $value := include "holdfast.settings" .root | fromYaml }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
- name: OMP_NUM_THREADS # a container sees all of its node's processors
  valueFrom:
    resourceFieldRef:
      resource: limits.cpu
      divisor: "1"
{{- if or (eq .role "model") (and (eq .role "serving") (eq .root.Values.model.source "archive")) }}
- name: BENTOML_HOME
  value: /models
{{- else if eq .role "jobs" }}
- name: BENTOML_HOME
  value: /var/lib/holdfast/bentoml
{{- end }}
{{- range include "holdfast.secrets" . | fromJsonArray }}
{{- if .variable }}
- name: {{ .variable }}
  value: /etc/holdfast/secrets/{{ .path }}
{{- end }}
{{- end }}
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Where a container's variables come from as a whole; empty where there is no such place, so use it `with`. */}}
{{- define "holdfast.envFrom" -}}
{{- if not .inline }}
- configMapRef:
    name: {{ include "holdfast.fullname" .root }}-settings
{{- end }}
{{- if has .role (list "jobs" "model") }}
{{- with .root.Values.stores.archive.credentials }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "holdfast.mounts" -}}
- name: tmp
  mountPath: /tmp
- name: home
  mountPath: /var/lib/holdfast
{{- if include "holdfast.secrets" . | fromJsonArray }}
- name: {{ eq .role "model" | ternary "archive-secrets" "secrets" }}
  mountPath: /etc/holdfast/secrets
  readOnly: true
{{- end }}
{{- if or (eq .role "model") (and (eq .role "serving") (eq .root.Values.model.source "archive")) }}
- name: models
  mountPath: /models
{{- end }}
{{- if and (has .role (list "jobs" "model")) .root.Values.stores.archive.claim }}
- name: archive
  mountPath: /archive
{{- end }}
{{- end -}}

{{/* A pod's volumes, for the containers of one role. */}}
{{- define "holdfast.volumes" -}}
{{- $bound := dig "limits" "ephemeral-storage" "1Gi" .resources -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ $bound }}
- name: home
  emptyDir:
    sizeLimit: {{ $bound }}
{{- include "holdfast.secretVolume" . }}
{{- if eq .role "serving" }}
{{- if eq .root.Values.model.source "archive" }}
- name: models
  emptyDir:
    sizeLimit: {{ $bound }}
{{- include "holdfast.secretVolume" (dict "root" .root "role" "model") }}
{{- include "holdfast.archiveVolume" . }}
{{- end }}
{{- else if eq .role "jobs" }}
{{- include "holdfast.archiveVolume" . }}
{{- end }}
{{- end -}}

{{- define "holdfast.secretVolume" -}}
{{- with include "holdfast.secrets" . | fromJsonArray }}
- name: {{ eq $.role "model" | ternary "archive-secrets" "secrets" }}
  projected:
    sources:
      {{- range . }}
      - secret:
          name: {{ .name }}
          items:
            - key: {{ .key }}
              path: {{ .path }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "holdfast.archiveVolume" -}}
{{- with .root.Values.stores.archive.claim }}
- name: archive
  persistentVolumeClaim:
    claimName: {{ . }}
{{- end }}
{{- end -}}
