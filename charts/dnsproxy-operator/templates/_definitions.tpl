{{/*
The name of everything that the chart makes: the release's, which is usually the chart's. In a parent chart the release
is that of others, too, which may use its name.
*/}}
{{- define "operator.name" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if .Chart.IsRoot -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What is not in the release's namespace has that in its name: another release may have the same name elsewhere. */}}
{{- define "operator.clusterName" -}}
{{ include "operator.name" . }}.{{ .Release.Namespace }}
{{- end -}}

{{- define "operator.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "operator.labels" -}}
{{ include "operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "operator.subjects" -}}
- kind: ServiceAccount
  name: {{ include "operator.name" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the operator does in the namespaces that it watches. */}}
{{- define "operator.rules" -}}
- apiGroups: [dnsproxy.io]
  resources: [dnsproxies]
  verbs: [list, watch]
- apiGroups: [dnsproxy.io]
  resources: [dnsproxies/status]
  verbs: [get, patch]
# Owner references that block the owner's deletion take this where the API server checks it (OpenShift).
- apiGroups: [dnsproxy.io]
  resources: [dnsproxies/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
# Only metadata is asked for: whether a Secret that a DnsProxy refers to is there, with its keys. There is no right for less.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch{{ if .Values.fastReload }}, patch{{ end }}]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
