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

{{/* The groups of all jobs as a list of numbers: Helm reads large ones as 1e+09. */}}
{{- define "dtp.groups" -}}
{{- $groups := list -}}
{{- range .Values.settings.groups }}{{ $groups = append $groups (int64 .) }}{{ end -}}
{{- toJson $groups -}}
{{- end }}

{{/* The group of what is prepared on the claim: the first that all jobs have. */}}
{{- define "dtp.group" -}}
{{- first .Values.settings.groups | default .Values.prepare.uid | int64 -}}
{{- end }}

{{/* What settings.yaml of ConfigMap dtp-cluster says. */}}
{{- define "dtp.settings" -}}
version: 1
claim: {{ include "dtp.claim" . }}
runnerImage: {{ .Values.runner.image }}
serviceAccount: dtp-job
pinned: {{ eq .Values.profile "cluster" }}
groups: {{ include "dtp.groups" . }}
{{ toYaml (omit .Values.settings "groups") }}
{{- end }}

{{/* Pods of ours run where jobs run: other nodes may not reach the claim. */}}
{{- define "dtp.placement" -}}
nodeSelector: {{ toJson .Values.settings.nodeSelector }}
tolerations: {{ toJson .Values.settings.tolerations }}
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
