{{/* How fast pods come and go: up at once, down when load has been lower for a while, and never by more than half a minute. */}}
{{- define "holdfast.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  selectPolicy: Max
  policies:
    - type: Percent
      value: 100
      periodSeconds: 15
    - type: Pods
      value: 4
      periodSeconds: 15
scaleDown:
  stabilizationWindowSeconds: {{ .Values.serving.autoscaling.scaleDownSeconds }}
  policies:
    - type: Percent
      value: 50
      periodSeconds: 60
{{- end -}}

{{/* Whether KEDA scales; empty if not. */}}
{{- define "holdfast.keda" -}}
{{- with .Values.serving.autoscaling }}{{ and .enabled (eq .kind "keda") | ternary "yes" "" }}{{ end -}}
{{- end -}}
