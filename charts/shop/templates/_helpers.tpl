{{- define "shop.image" -}}
{{- include "laneway.image" (dict "Values" .Values.laneway "Chart" .Chart) }}
{{- end }}

{{- define "shop.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "laneway.podSecurity" (dict "user" 10001) | nindent 2 }}
{{- with .Values.laneway.image.pullSecrets }}
imagePullSecrets: {{- range . }}{{ nindent 2 "- name: " }}{{ . }}{{ end }}
{{- end }}
{{- end }}
