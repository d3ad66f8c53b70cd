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

{{/* Refuses a service that would call what is not there. */}}
{{- define "shop.elsewhere" -}}
{{- $theirs := dict
  "provider" (dict "service" "payments" "variable" "PROVIDER_URL")
  "mailbox" (dict "service" "notifications" "variable" "SMTP_URL") }}
{{- range $name, $caller := $theirs }}
{{- $env := (index $.Values.laneway.services $caller.service | default dict).env | default dict }}
{{- if and (not (index $.Values $name).enabled) (contains (printf "-%s:" $name) (index $env $caller.variable | default "" | toString)) }}
{{- fail (printf "%s.enabled is false, and %s would call it still: say where yours is in laneway.services.%s.env.%s, and let it through in laneway.services.%s.egress" $name $caller.service $caller.service $caller.variable $caller.service) }}
{{- end }}
{{- end }}
{{- end }}
