{{/* What the chart `laneway` would see: its helpers take its values from here. */}}
{{- define "shop.laneway" -}}
{{- dict "Values" .Values.laneway "Chart" (dict "AppVersion" .Chart.AppVersion) | toJson }}
{{- end }}

{{- define "shop.image" -}}
{{- include "laneway.image" (include "shop.laneway" . | fromJson) }}
{{- end }}

{{- define "shop.pod" -}}
{{- include "laneway.pod" (dict "root" (include "shop.laneway" . | fromJson) "user" 10001) }}
{{- end }}
