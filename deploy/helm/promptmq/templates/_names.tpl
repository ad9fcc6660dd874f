{{- define "promptmq.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "promptmq.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "promptmq.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "promptmq.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "promptmq.selectorLabels" -}}
app.kubernetes.io/name: {{ include "promptmq.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "promptmq.labels" -}}
{{ include "promptmq.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "promptmq.secret" -}}
{{- .Values.existingSecret | default (ternary (include "promptmq.fullname" .) "" (gt (len .Values.secretFiles) 0)) }}
{{- end }}

{{- define "promptmq.ports" -}}
{{- $ports := list (dict "name" "mqtt" "port" 1883) (dict "name" "websocket" "port" 8080) (dict "name" "metrics" "port" 9090) }}
{{- concat $ports .Values.extraPorts | toJson }}
{{- end }}
