{{/* The release's name; in another chart's release it is one part of several. */}}
{{- define "laneway.operator.name" -}}
{{ .Release.Name }}{{ if not .Chart.IsRoot }}-operator{{ end }}
{{- end }}

{{- define "laneway.operator.labels" -}}
{{ include "laneway.operator.selector" . }}
app.kubernetes.io/part-of: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "laneway.operator.selector" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/name: laneway-operator
app.kubernetes.io/component: operator
{{- end }}

{{- define "laneway.operator.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{- define "laneway.operator.account" -}}
{{ .Values.serviceAccount.name | default (include "laneway.operator.name" .) }}
{{- end }}

{{/* The environment as a sorted list: (a map of strings and `valueFrom`s) */}}
{{- define "laneway.operator.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  valueFrom: {{ toJson $value.valueFrom }}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What the operator is told; `env` wins. */}}
{{- define "laneway.operator.environment" -}}
{{- $env := dict
  "LANEWAY_OPERATOR_NAMESPACES" (join "," .Values.namespaces)
  "LANEWAY_OPERATOR_INTERVAL" (.Values.interval | toString)
  "LANEWAY_OPERATOR_LOG_FORMAT" .Values.logs.format
  "LANEWAY_OPERATOR_LOG_LEVEL" .Values.logs.level
  "LANEWAY_OPERATOR_LEASE" (include "laneway.operator.name" .)
  "LANEWAY_OPERATOR_LEASE_NAMESPACE" .Release.Namespace
  "LANEWAY_OPERATOR_IDENTITY" (dict "valueFrom" (dict "fieldRef" (dict "fieldPath" "metadata.name"))) }}
{{- mergeOverwrite $env (deepCopy .Values.env) | toJson }}
{{- end }}

{{/* What the operator does to the objects of the namespaces that it serves: each verb, and the code that needs it. */}}
{{- define "laneway.operator.rules" -}}
# watch.py: WorkerPools, their Deployments and pods, and whatever else would scale those.
- {apiGroups: [laneway.dev], resources: [workerpools], verbs: [list, watch]}
- {apiGroups: [apps], resources: [deployments], verbs: [list, watch]}
- {apiGroups: [""], resources: [pods], verbs: [list, watch]}
- {apiGroups: [autoscaling], resources: [horizontalpodautoscalers], verbs: [list, watch]}
# kube.py: the scale, the deletion cost of a drained pod, what is said of a pool, the broker's URL.
- {apiGroups: [apps], resources: [deployments/scale], verbs: [patch]}
- {apiGroups: [""], resources: [pods], verbs: [patch]}
- {apiGroups: [laneway.dev], resources: [workerpools/status], verbs: [patch]}
- {apiGroups: [""], resources: [events], verbs: [create]}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
  {{- with .Values.rbac.secrets }}
  resourceNames: {{ toJson . }}
  {{- end }}
{{- end }}
