{{/* Parts of the admission policies. */}}

{{/* A value as a literal of CEL, with an expression wherever it has {$: expression}. CEL wants all
     elements of a list or a map to be of one type, so each is made dynamic. */}}
{{- define "dtp.cel" -}}
{{- $parts := list -}}
{{- if and (kindIs "map" .) (hasKey . "$") -}}
{{- get . "$" -}}
{{- else if kindIs "map" . -}}
{{- range $key, $item := . }}{{ $parts = append $parts (printf "%s: dyn(%s)" (toJson $key) (include "dtp.cel" $item)) }}{{ end -}}
{ {{- join ", " $parts -}} }
{{- else if kindIs "slice" . -}}
{{- range . }}{{ $parts = append $parts (printf "dyn(%s)" (include "dtp.cel" .)) }}{{ end -}}
[ {{- join ", " $parts -}} ]
{{- else -}}
{{- toJson . -}}
{{- end -}}
{{- end }}

{{/* dtp.policy (dict "top" $ "what" "jobs" "spec" TEXT): a policy for this namespace alone, in force. */}}
{{- define "dtp.policy" -}}
{{- $name := printf "dtp-%s-%s" .top.Release.Namespace .what -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: {{ $name }}
  labels: {{- include "dtp.labels" .top | nindent 4 }}
spec:
  failurePolicy: Fail
  {{- .spec | nindent 2 }}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ $name }}
  labels: {{- include "dtp.labels" .top | nindent 4 }}
spec:
  policyName: {{ $name }}
  validationActions: [Deny]
{{- end }}

{{/* The one namespace. */}}
{{- define "dtp.here" -}}
{matchLabels: {kubernetes.io/metadata.name: {{ .Release.Namespace }}}}
{{- end }}

{{/* Tells whether who asks is the account that the chart makes for the dispatcher. */}}
{{- define "dtp.isAccount" -}}
request.userInfo.username == "system:serviceaccount:{{ .Release.Namespace }}:dtp-dispatch"
{{- end }}

{{/* Tells whether who asks acts as dispatcher: the account, or one of dispatch.subjects. */}}
{{- define "dtp.isDispatcher" -}}
{{- $users := list (printf "system:serviceaccount:%s:dtp-dispatch" .Release.Namespace) -}}
{{- $groups := list -}}
{{- range .Values.dispatch.subjects -}}
{{- if eq .kind "ServiceAccount" -}}
{{- $users = append $users (printf "system:serviceaccount:%s:%s" (.namespace | default $.Release.Namespace) .name) -}}
{{- else if eq .kind "User" -}}
{{- $users = append $users .name -}}
{{- else -}}
{{- $groups = append $groups .name -}}
{{- end -}}
{{- end -}}
request.userInfo.username in {{ toJson $users }}
{{- with $groups }} || request.userInfo.groups.exists(g, g in {{ toJson . }}){{ end }}
{{- end }}

{{/* Tells whether image `c.image` is given by digest and among settings.images; as
     cluster_settings.admits has it, a prefix ends where a part of the name ends. */}}
{{- define "dtp.admitted" -}}
c.image.matches(r'^(localhost|[a-z0-9-]+(\.[a-z0-9-]+)+)(:[0-9]+)?(/[a-z0-9._-]+)+(:[\w.-]{1,128})?@sha256:[0-9a-f]{64}$')
{{- with .Values.settings.images }} && {{ toJson . }}.exists(p, c.image.startsWith(p) && (p.matches(r'[/:@]$') || c.image.substring(p.size()).matches(r'^($|[/:@])'))){{ end }}
{{- end }}

{{/* Tells whether Secret `s.secret.name` may be read by a job of `variables.protocol`; as catalog.refusals
     has it, a name that ends in several grants belongs to the longest. */}}
{{- define "dtp.granted" -}}
{{- $granted := keys .Values.settings.grants | sortAlpha | toJson -}}
!(s.secret.name in {{ append .Values.imagePullSecrets .Values.cron.tokenSecret | toJson }}) && ({{ $granted }}.exists(k, s.secret.name == "dtp-" + variables.protocol + "-" + k && !{{ $granted }}.exists(l, l.endsWith("-" + k) && (variables.protocol + "-" + k).endsWith("-" + l))) || s.secret.name == "dtp-" + variables.protocol && !{{ $granted }}.exists(k, variables.protocol.endsWith("-" + k)))
{{- end }}

{{/* Seconds of a time such as 90m, 24h or 7d. */}}
{{- define "dtp.seconds" -}}
{{- $unit := regexFind "[smhd]$" . -}}
{{- mul (trimSuffix $unit . | int64) (get (dict "s" 1 "m" 60 "h" 3600 "d" 86400) $unit) -}}
{{- end }}

{{/* Seconds that an ended Job stays at least: settings.retention, and never more than it is born with. */}}
{{- define "dtp.leastStay" -}}
{{- min 2592000 (include "dtp.seconds" .Values.settings.retention) -}}
{{- end }}
