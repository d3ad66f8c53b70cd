{{- define "laneway.labels" -}}
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What a pod's selector is made of: (dict "root" $ "service" name "role" name) */}}
{{- define "laneway.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/name: {{ .service }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* (dict "repository" "…" "tag" "…" "digest" "…") */}}
{{- define "laneway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "laneway.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ .user }}
runAsGroup: {{ .user }}
fsGroup: {{ .user }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "laneway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: {{ not .writable }}
capabilities: {drop: [ALL]}
{{- end }}

{{- define "laneway.resources" -}}
requests: {{ toJson .requests }}
limits: {{ toJson .limits }}
{{- end }}

{{- define "laneway.embeddedDatabase" -}}
{{- if not (or .Values.database.url .Values.database.existingSecret) }}true{{ end }}
{{- end }}

{{- define "laneway.embeddedBroker" -}}
{{- if not (or .Values.broker.url .Values.broker.existingSecret) }}true{{ end }}
{{- end }}

{{- define "laneway.tracesUrl" -}}
{{- if .Values.traces.url -}}{{ .Values.traces.url }}
{{- else if .Values.jaeger.enabled -}}http://{{ .Release.Name }}-jaeger:4318
{{- end }}
{{- end }}

{{/* Whether a service has a database: it has one unless it is nothing but an edge. */}}
{{- define "laneway.hasDatabase" -}}
{{- if or .grpc .worker (hasKey . "grpc") (hasKey . "worker") }}true{{ end }}
{{- end }}

{{/* A role's settings over its defaults: (dict "root" $ "role" "grpc" "own" {…}), as JSON. */}}
{{- define "laneway.role" -}}
{{- mergeOverwrite (deepCopy (index .root.Values.roles .role)) (.own | default dict) | toJson }}
{{- end }}

{{/* A password that is made once: (dict "root" $ "secret" name "key" key). Lookup finds nothing in a dry run. */}}
{{- define "laneway.password" -}}
{{- $found := (lookup "v1" "Secret" .root.Release.Namespace .secret).data | default dict -}}
{{- if hasKey $found .key }}{{ index $found .key | b64dec }}{{ else }}{{ randAlphaNum 32 }}{{ end }}
{{- end }}

{{/* All the passwords of a release, made or found, once a rendering: later calls must see what earlier ones made. */}}
{{- define "laneway.passwords" -}}
{{- if not (hasKey .Values "generated") }}
{{- $all := dict "postgresql" (include "laneway.password" (dict "root" . "secret" (printf "%s-postgresql" .Release.Name) "key" "password")) }}
{{- $_ := set $all "grafana" (include "laneway.password" (dict "root" . "secret" (printf "%s-grafana" .Release.Name) "key" "password")) }}
{{- /* Only what is kept in a secret of ours: another would be made anew, and start pods again, with each rendering. */}}
{{- range $service, $spec := .Values.services }}
{{- if include "laneway.hasDatabase" $spec }}
{{- $secret := printf "%s-%s" $.Release.Name $service }}
{{- if include "laneway.embeddedDatabase" $ }}
{{- $_ := set $all (printf "database/%s" $service) (include "laneway.password" (dict "root" $ "secret" $secret "key" "database-password")) }}
{{- end }}
{{- if include "laneway.embeddedBroker" $ }}
{{- $_ := set $all (printf "broker/%s" $service) (include "laneway.password" (dict "root" $ "secret" $secret "key" "broker-password")) }}
{{- end }}
{{- end }}
{{- end }}
{{- $_ := set .Values "generated" $all }}
{{- end }}
{{- end }}

{{/* The environment as a sorted list: (a map of strings and `valueFrom`s) */}}
{{- define "laneway.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  valueFrom: {{ toJson $value.valueFrom }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Where a service's URL of something lies: (dict "root" $ "service" name "what" "database"|"broker") */}}
{{- define "laneway.urlFrom" -}}
{{- $theirs := (index .root.Values .what).existingSecret -}}
{{- if $theirs -}}
{"valueFrom": {"secretKeyRef": {"name": {{ $theirs | quote }}, "key": {{ .service | quote }}}}}
{{- else -}}
{"valueFrom": {"secretKeyRef": {"name": {{ printf "%s-%s" .root.Release.Name .service | quote }}, "key": {{ printf "%s-url" .what | quote }}}}}
{{- end }}
{{- end }}

{{/* Egress to the names of the cluster. */}}
{{- define "laneway.dns" -}}
- ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
{{- end }}
