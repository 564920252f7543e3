{{/* The labels of all that the chart makes. */}}
{{- define "dtp.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The claim that holds the workspace. */}}
{{- define "dtp.claim" -}}
{{- .Values.claim.existing | default "dtp-workspace" -}}
{{- end }}

{{/* What settings.yaml of ConfigMap dtp-cluster says. Group ids are numbers again: Helm reads large
     ones as 1e+09. */}}
{{- define "dtp.settings" -}}
{{- $groups := list -}}
{{- range .Values.settings.groups }}{{ $groups = append $groups (int64 .) }}{{ end -}}
version: 1
claim: {{ include "dtp.claim" . }}
runnerImage: {{ .Values.runner.image }}
serviceAccount: dtp-job
{{ toYaml (merge (dict "groups" $groups) (deepCopy .Values.settings)) }}
{{- end }}

{{/* The group of what is prepared on the claim: one that all jobs have. */}}
{{- define "dtp.group" -}}
{{- first .Values.settings.groups | default .Values.prepare.uid | int64 -}}
{{- end }}

{{/* Pod Security "restricted", for a Pod and for its containers. */}}
{{- define "dtp.podSecurity" -}}
runAsNonRoot: true
seccompProfile: {type: RuntimeDefault}
{{- end }}
{{- define "dtp.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
