{{/* The labels of every object. */}}
{{- define "laneway.labels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What an object is about: (dict "service" name "role" name) */}}
{{- define "laneway.identity" -}}
app.kubernetes.io/name: {{ .service }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{/* What a pod's selector is made of: (dict "root" $ "service" name "role" name) */}}
{{- define "laneway.selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{ include "laneway.identity" . }}
{{- end }}

{{- define "laneway.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/* What every pod has: (dict "root" $ "user" number) */}}
{{- define "laneway.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ .user }}
  runAsGroup: {{ .user }}
  fsGroup: {{ .user }}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- range . }}{{ nindent 2 "- name: " }}{{ . }}{{ end }}
{{- end }}
{{- with .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
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

{{- define "laneway.embeddedTraces" -}}
{{- if and .Values.jaeger.enabled (not .Values.traces.url) }}true{{ end }}
{{- end }}

{{- define "laneway.embeddedMetrics" -}}
{{- if and .Values.prometheus.enabled (not .Values.prometheus.url) }}true{{ end }}
{{- end }}

{{- define "laneway.tracesUrl" -}}
{{- if .Values.traces.url -}}{{ .Values.traces.url }}
{{- else if include "laneway.embeddedTraces" . -}}http://{{ .Release.Name }}-jaeger:4318
{{- end }}
{{- end }}

{{/* The services that run, as JSON: a service or role that is null was taken away. */}}
{{- define "laneway.services" -}}
{{- if gt (len .Release.Name) 40 }}
{{- fail (printf "the release's name has %d characters; 40 are the most, for what is named after it may have 63" (len .Release.Name)) }}
{{- end }}
{{- if contains "." .Release.Name }}
{{- fail (printf "the release's name %q has a dot in it, which no name of a Service may; use a dash" .Release.Name) }}
{{- end }}
{{- $services := dict }}
{{- range $service, $spec := .Values.services }}
{{- if $spec }}
{{- if has $service (list "grafana" "jaeger" "mailbox" "metrics" "migrate" "operator" "policy" "postgresql" "prometheus" "provider" "test-order" "valkey") }}
{{- fail (printf "services.%s: a part of the chart has that name; call the service something else" $service) }}
{{- end }}
{{- if has $service (list "default" "postgres" "template0" "template1" "public") }}
{{- fail (printf "services.%s: a user or database of that name is the backend's own; call the service something else" $service) }}
{{- end }}
{{- if gt (add (len $.Release.Name) (len $service)) 57 }}
{{- fail (printf "services.%s: with the release's name %q it is too long; both may have 57 characters together" $service $.Release.Name) }}
{{- end }}
{{- range $role := list "rest" "worker" "cpu-worker" }}
{{- $base := trimSuffix (printf "-%s" $role) $service }}
{{- if and (ne $base $service) (hasKey (get $.Values.services $base | default dict) $role) }}
{{- fail (printf "services.%s: the role %s of the service %s has that name; call the service something else" $service $role $base) }}
{{- end }}
{{- end }}
{{- $base := trimSuffix "-cpu" $service }}
{{- if and (ne $base $service) (hasKey $spec "worker") (hasKey (get $.Values.services $base | default dict) "cpu-worker") }}
{{- fail (printf "services.%s: its role worker is called as the role cpu-worker of the service %s; call the service something else" $service $base) }}
{{- end }}
{{- $kept := dict }}
{{- range $key, $value := $spec }}{{ if not (kindIs "invalid" $value) }}{{ $_ := set $kept $key $value }}{{ end }}{{ end }}
{{- $_ := set $services $service $kept }}
{{- end }}
{{- end }}
{{- range $service, $spec := $services }}
{{- range $called := $spec.calls }}
{{- if not (hasKey (get $services $called | default dict) "grpc") }}
{{- fail (printf "services.%s.calls: %q is none of the services with the role grpc" $service $called) }}
{{- end }}
{{- end }}
{{- end }}
{{- include "laneway.oneDoor" (dict "root" . "services" $services) }}
{{- toJson $services }}
{{- end }}

{{/* There is one door: a node's port or a host with its path leads to one edge. */}}
{{- define "laneway.oneDoor" -}}
{{- $edges := list }}
{{- range $service, $spec := .services }}{{ if hasKey $spec "rest" }}{{ $edges = append $edges $service }}{{ end }}{{ end }}
{{- if gt (len $edges) 1 }}
{{- $named := $edges | sortAlpha | join ", " }}
{{- if .root.Values.edge.nodePort }}
{{- fail (printf "edge.nodePort: one port cannot lead to several edges (%s); leave it out, and each gets one" $named) }}
{{- end }}
{{- if .root.Values.edge.ingress.enabled }}
{{- fail (printf "edge.ingress: one host and path cannot lead to several edges (%s); write the Ingress yourself" $named) }}
{{- end }}
{{- end }}
{{- end }}

{{/* The names of the services that have a database: all but those that are nothing but an edge. */}}
{{- define "laneway.withDatabase" -}}
{{- $names := list }}
{{- range $service, $spec := include "laneway.services" . | fromJson }}
{{- if include "laneway.hasDatabase" $spec }}{{ $names = append $names $service }}{{ end }}
{{- end }}
{{- dict "names" $names | toJson }}
{{- end }}

{{- define "laneway.hasDatabase" -}}
{{- if or (hasKey . "grpc") (hasKey . "worker") (hasKey . "cpu-worker") }}true{{ end }}
{{- end }}

{{/* A role's settings over its defaults: (dict "root" $ "service" name "role" "grpc" "own" {…}), as JSON. */}}
{{- define "laneway.role" -}}
{{- $role := mergeOverwrite (deepCopy (index .root.Values.roles .role)) (deepCopy .own) }}
{{- if and $role.autoscaling $role.autoscaling.enabled }}
{{- if $role.scale }}
{{- fail (printf "services.%s.%s: scale and autoscaling.enabled exclude each other; two would set the replicas" .service .role) }}
{{- end }}
{{- if gt (int $role.autoscaling.minReplicas) (int $role.autoscaling.maxReplicas) }}
{{- fail (printf "services.%s.%s.autoscaling: minReplicas is above maxReplicas" .service .role) }}
{{- end }}
{{- end }}
{{- toJson $role }}
{{- end }}

{{/* What something else scales keeps the replicas it has: (dict "root" $ "name" name). A field that helm has set and sets no more is
removed, and the server's default is one replica. Where helm applies on the server, the field is its own only until something else
has changed it; elsewhere helm compares with its last manifest, which no template sees. Lookup finds nothing in a dry run. */}}
{{- define "laneway.liveReplicas" -}}
{{- $live := lookup "apps/v1" "Deployment" .root.Release.Namespace .name }}
{{- if $live }}
{{- $applies := false }}
{{- $owns := false }}
{{- range $live.metadata.managedFields }}
{{- if and (eq .manager "helm") (eq .operation "Apply") }}
{{- $applies = true }}
{{- $owns = hasKey (index .fieldsV1 "f:spec" | default dict) "f:replicas" }}
{{- end }}
{{- end }}
{{- if or $owns (not $applies) }}replicas: {{ $live.spec.replicas }}{{ end }}
{{- end }}
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
{{- range $service := (include "laneway.withDatabase" . | fromJson).names }}
{{- $secret := printf "%s-%s" $.Release.Name $service }}
{{- if include "laneway.embeddedDatabase" $ }}
{{- $_ := set $all (printf "database/%s" $service) (include "laneway.password" (dict "root" $ "secret" $secret "key" "database-password")) }}
{{- end }}
{{- if include "laneway.embeddedBroker" $ }}
{{- $_ := set $all (printf "broker/%s" $service) (include "laneway.password" (dict "root" $ "secret" $secret "key" "broker-password")) }}
{{- end }}
{{- end }}
{{- $_ := set .Values "generated" $all }}
{{- end }}
{{- end }}

{{/* The environment as a sorted list: (a map of strings, numbers, booleans and `valueFrom`s; null takes away) */}}
{{- define "laneway.env" -}}
{{- range $name, $value := . }}
{{- if kindIs "map" $value }}
- name: {{ $name }}
  valueFrom: {{ toJson $value.valueFrom }}
{{- else if kindIs "string" $value }}
- name: {{ $name }}
  value: {{ quote $value }}
{{- else if not (kindIs "invalid" $value) }}
{{- /* As JSON, which writes ten million as 10000000 and not as 1e+07. */}}
- name: {{ $name }}
  value: {{ toJson $value | quote }}
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

{{/* The ports of a URL, as JSON: of each of its hosts, and of its query (`?host=…&port=…`). (dict "url" "…" "port" the scheme's) */}}
{{- define "laneway.ports" -}}
{{- $found := list }}
{{- range $host := splitList "," (regexReplaceAll "^[a-z+]+://([^/?]*@)?([^/?]*).*$" (.url | default "") "${2}") }}
{{- if $host }}{{ $found = append $found (regexFind ":[0-9]+$" $host | trimPrefix ":" | default $.port | int) }}{{ end }}
{{- end }}
{{- range $port := regexFindAll "[0-9]+" (regexFind "[?&]port=[0-9,]+" (.url | default "")) -1 }}
{{- $found = append $found (int $port) }}
{{- end }}
{{- dict "ports" ($found | default (list (int .port)) | uniq) | toJson }}
{{- end }}

{{/* Egress to what runs elsewhere: any address, but its ports. (dict "url" "…" "existingSecret" "…" "port" the scheme's) */}}
{{- define "laneway.elsewhere" -}}
{{- if or .url .existingSecret }}
- ports: [{{ range $at, $port := (include "laneway.ports" . | fromJson).ports }}{{ if $at }}, {{ end }}{port: {{ $port }}}{{ end }}]
{{- end }}
{{- end }}

{{/* Whom a page of what was observed is for: as peers of ingress. A forwarded port needs none. */}}
{{- define "laneway.viewers" -}}
- podSelector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/name: grafana}}
- podSelector: {matchLabels: {app.kubernetes.io/instance: {{ .Release.Name }}, app.kubernetes.io/component: test}}
{{- with .Values.networkPolicy.viewers }}
{{ toYaml . }}
{{- end }}
{{- end }}
