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

{{/* Tells whether `variables.name` is that of attempt `variables.attempt` of job `variables.ref`, of protocol
     `variables.protocol`; as naming.attempt_name makes it, but for the hash, of which CEL knows none. */}}
{{- define "dtp.named" -}}
variables.ref.matches("^dtp-[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?/[A-Za-z0-9][A-Za-z0-9._-]{0,99}$") &&
variables.attempt.matches("^[1-9][0-9]{0,6}$") && variables.ref.startsWith("dtp-" + variables.protocol + "/") &&
(variables.name.matches("^dtp-" + {{ include "dtp.slug" (list "variables.protocol" 8) }} + "-" +
{{ include "dtp.slug" (list "variables.ref.substring(variables.ref.indexOf('/') + 1)" 14) }} + "-[a-z2-7]{16}-" + variables.attempt + "$") ||
variables.name.matches("^dtp-" + {{ include "dtp.slug" (list "variables.protocol" 8) }} + "-" +
{{ include "dtp.slug" (list "variables.ref.substring(variables.ref.indexOf('/') + 1)" 22) }} + "-[a-z2-7]{8}-" + variables.attempt + "$"))
{{- end }}

{{/* dtp.slug (list EXPRESSION LENGTH): what naming makes of a text of at most 100 characters: runs of others than
     letters and digits become one `-`, and none stands at an end. */}}
{{- define "dtp.slug" -}}
{{- $words := printf "(%s).lowerAscii()" (index . 0) -}}
{{- range list "." "_" "-" }}{{ $words = printf "%s.replace(%s, ' ')" $words (toJson .) }}{{ end -}}
{{- range until 7 }}{{ $words = printf "%s.replace('  ', ' ')" $words }}{{ end -}}
[{{ $words }}].map(w, w.substring(0, [w.size(), {{ index . 1 }}].min()).trim().replace(" ", "-"))[0]
{{- end }}

{{/* What the runner goes by in the container `job`: variables of which each has one value … */}}
{{- define "dtp.jobEnv" -}}
DTP_REF: {$: variables.ref}
DTP_NAME: {$: variables.name}
DTP_ATTEMPT: {$: variables.attempt}
DTP_DIRECTORY: {$: '"/workspace/dtp-jobs/" + variables.ref'}
DTP_STATE: /dtp-state
DTP_SCRIPT: /dtp-entry/script
DTP_TOOLS: /dtp
DTP_SECRETS: /var/run/dtp/secret
DTP_TERMINATION: /dev/termination-log
HOME: /home/dtp
TMPDIR: /tmp
{{- end }}

{{/* … those of which each has one of some values, given as a pattern (whose nested repeats multiply to 1000 at most), … */}}
{{- define "dtp.jobWords" -}}
{{- $code := "([1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])" -}}
{{- $one := printf "([A-Za-z0-9][A-Za-z0-9_.+-]*:)?%s" $code -}}
DTP_RETRIES: "[0-5]"
DTP_RESUME: "yes|no"
DTP_TRANSIENT: "({{ $one }}( {{ $one }}){0,254})?"
DTP_KIND: run|service
DTP_MANIFEST: none|sha256
DTP_COMMIT: {{ include "dtp.hex" . | quote }}
DTP_ENTRY: {{ include "dtp.uid" . | quote }}
DTP_BLOB: {{ include "dtp.hex" . | quote }}
{{- end }}

{{/* … and those that may be there. */}}
{{- define "dtp.jobMay" -}}
DTP_EXPOSED: .+
DTP_TIME: "[1-9][0-9]{0,8}"
DTP_FILES: /dtp-entry/files
DTP_NETWORK: "yes|no"
{{- end }}

{{- define "dtp.prepEnv" -}}
DTP_CLAIM: /claim
DTP_TOOLS_OUT: /tools
DTP_DIRECTORY_PATH: {$: '"dtp-jobs/" + variables.ref'}
DTP_STATE_PATH: {$: '".dtp/state/" + variables.name'}
DTP_TERMINATION: /dev/termination-log
{{- end }}

{{- define "dtp.hex" -}}
[0-9a-f]{40}([0-9a-f]{24})?
{{- end }}
{{- define "dtp.uid" -}}
[A-Za-z0-9-]{1,100}
{{- end }}

{{/* dtp.environment: what both policies make of this. The variables of `job` beyond these are the
     catalog's: any, but none that begins like ours, and not the path to programs. */}}
{{- define "dtp.environment" -}}
- name: told
  expression: {{ include "dtp.cel" (include "dtp.jobEnv" . | fromYaml) | quote }}
- name: words
  expression: {{ include "dtp.cel" (include "dtp.jobWords" . | fromYaml) | quote }}
- name: may
  expression: {{ include "dtp.cel" (include "dtp.jobMay" . | fromYaml) | quote }}
- name: prepTold
  expression: {{ include "dtp.cel" (include "dtp.prepEnv" . | fromYaml) | quote }}
- name: env
  expression: "variables.run.?env.orValue([])"
- name: prepEnv
  expression: "variables.prep.?env.orValue([])"
{{- end }}
{{- define "dtp.environmentRules" -}}
- message: the runner is told the job, the attempt, its directory and its state, as the name and the annotations say
  expression: >-
    variables.told.all(k, variables.env.exists(e, e.name == k)) && variables.words.all(k, variables.env.exists(e, e.name == k)) &&
    variables.env.exists(e, e.name == "DTP_UID") && variables.prepTold.all(k, variables.prepEnv.exists(e, e.name == k)) &&
    variables.env.all(e, !(e.name in variables.told) || e.?value.orValue("") == variables.told[e.name]) &&
    variables.prepEnv.all(e, e.name in variables.prepTold ? e.?value.orValue("") == variables.prepTold[e.name] :
    e.name in ["DTP_ENTRY", "DTP_BLOB"] && e in variables.env) &&
    ["DTP_ENTRY", "DTP_BLOB"].all(k, variables.prepEnv.exists(e, e.name == k))
- message: the runner is told nothing that an attempt's Job does not tell it
  expression: >-
    variables.env.all(e, e.name in variables.told ||
    (e.name in variables.words ? !has(e.valueFrom) && e.?value.orValue("").matches("^(" + variables.words[e.name] + ")$") :
    e.name in variables.may ? !has(e.valueFrom) && e.?value.orValue("").matches("^(" + variables.may[e.name] + ")$") :
    e.name == "DTP_UID" ? e.?valueFrom.orValue({}) == {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}} :
    !e.name.matches("^([dD][tT][pP]_.*|PATH)$")))
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
