{{/* Every helper takes a dict: root (the chart's context) and name (the service). */}}

{{- define "feedloop.fullname" -}}
{{- if contains "feedloop" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-feedloop" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "feedloop.selector" -}}
app.kubernetes.io/name: feedloop
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "feedloop.labels" -}}
{{ include "feedloop.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "feedloop.image" -}}
{{ printf "%s-%s:%s" .root.Values.image.repository .name (.root.Values.image.tag | default .root.Chart.AppVersion) }}
{{- end }}

{{- define "feedloop.model" -}}
{{ .root.Values.model.hub | default "/models/base" }}
{{- end }}

{{- define "feedloop.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "feedloop.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The environment that all services share; the Secret comes by envFrom. */}}
{{- define "feedloop.env" -}}
- {name: KAFKA_BOOTSTRAP_SERVERS, value: {{ required "set kafka.bootstrapServers: the address of your Kafka" .root.Values.kafka.bootstrapServers | quote }}}
- {name: FEEDLOOP_HTTP_HOST, value: "0.0.0.0"}
- {name: FEEDLOOP_HTTP_PORT, value: "8080"}
- {name: FEEDLOOP_OBJECTS, value: {{ .root.Values.objects.uri | default "/var/lib/feedloop/objects" | quote }}}
- {name: FEEDLOOP_MODELS_CACHE, value: /var/cache/feedloop}
- {name: FEEDLOOP_MODEL, value: {{ include "feedloop.model" . | quote }}}
- {name: FEEDLOOP_LOG_LEVEL, value: {{ .root.Values.logLevel | quote }}}
{{- $root := .root }}
{{- range $peer := list "ingest" "inference" "classifier" "retriever" "feedback" "trainer" }}
- {name: FEEDLOOP_{{ upper $peer }}_URL, value: "http://{{ include "feedloop.fullname" $root }}-{{ $peer }}:8080"}
{{- end }}
{{- if .root.Values.model.hub }}
- {name: HF_HUB_OFFLINE, value: "0"}
{{- end }}
{{- end }}

{{/* Who this replica is to Kafka. An ordinal where the pod has one; "0" where there is one pod and the old goes before the new comes; else the
pod's name, which no other live pod bears. */}}
{{- define "feedloop.replica" -}}
- name: FEEDLOOP_REPLICA
{{- if has .name (list "inference" "retriever" "trainer") }}
  valueFrom: {fieldRef: {fieldPath: "metadata.labels['apps.kubernetes.io/pod-index']"}}
{{- else if eq .name "classifier" }}
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
{{- else }}
  value: "0"
{{- end }}
{{- end }}

{{- define "feedloop.container" -}}
{{- $values := index .root.Values.services .name -}}
- name: {{ .name }}
  image: {{ include "feedloop.image" . | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  env:
    {{- include "feedloop.env" . | nindent 4 }}
    {{- include "feedloop.replica" . | nindent 4 }}
    - {name: FEEDLOOP_LABELS, value: /etc/feedloop/labels.yaml}
    {{- if eq .name "ingest" }}
    - {name: FEEDLOOP_CONFIG, value: /etc/feedloop/feedloop.yaml}
    {{- else if eq .name "retriever" }}
    - {name: QDRANT_URL, value: {{ required "set qdrant.url: the address of your Qdrant" .root.Values.qdrant.url | quote }}}
    {{- else if eq .name "inference" }}
    - name: FEEDLOOP_ENGINE_URL
      value: {{ ternary "http://127.0.0.1:8000" (.root.Values.engine.url | default "") .root.Values.engine.enabled | required "engine.enabled is false: set engine.url" | quote }}
    {{- end }}
    {{- if and .root.Values.helpText (has .name (list "classifier" "feedback")) }}
    - {name: FEEDLOOP_HELP_TEXT, value: {{ .root.Values.helpText | quote }}}
    {{- end }}
    {{- range $key, $value := $values.extraEnv }}
    - {name: {{ $key }}, value: {{ $value | quote }}}
    {{- end }}
  envFrom:
    - secretRef: {name: {{ required "set existingSecret: a Secret with the key FEEDLOOP_TOKEN" .root.Values.existingSecret }}}
  ports:
    - {name: http, containerPort: 8080}
  startupProbe:
    httpGet: {path: /health, port: http}
    periodSeconds: 3
    failureThreshold: 60
  livenessProbe:
    httpGet: {path: /health, port: http}
    periodSeconds: 15
    timeoutSeconds: 5
  readinessProbe:
    httpGet: {path: /ready, port: http}
    periodSeconds: 10
    timeoutSeconds: 5
  resources:
    {{- toYaml $values.resources | nindent 4 }}
  securityContext:
    {{- include "feedloop.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: tmp, mountPath: /tmp}
    - {name: data, mountPath: /var/lib/feedloop}
    - {name: models, mountPath: /var/cache/feedloop}
    - {name: config, mountPath: /etc/feedloop, readOnly: true}
    {{- if and (has .name (list "inference" "trainer")) (not .root.Values.model.hub) }}
    - {name: model, mountPath: /models/base, readOnly: true}
    {{- end }}
{{- end }}

{{/* Copies the bundled model out of the image, so that the engine and the trainer read it at one path. */}}
{{- define "feedloop.modelInit" -}}
{{- if not (or .root.Values.model.hub .root.Values.model.existingClaim) }}
initContainers:
  - name: model
    image: {{ include "feedloop.image" . | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: [cp, -r, /app/deploy/model/., /models/base/]
    resources: {requests: {cpu: 50m, memory: 64Mi}, limits: {memory: 256Mi}}
    securityContext:
      {{- include "feedloop.containerSecurity" . | nindent 6 }}
    volumeMounts:
      - {name: model, mountPath: /models/base}
{{- end }}
{{- end }}

{{- define "feedloop.volumes" -}}
- name: tmp
  emptyDir: {}
- name: models # a pod's own, so that replicas never unpack the same adapter over one another
  emptyDir: {}
- name: data
{{- if .root.Values.objects.uri }}
  emptyDir: {}
{{- else }}
  persistentVolumeClaim: {claimName: {{ .root.Values.objects.existingClaim | default (printf "%s-objects" (include "feedloop.fullname" .root)) }}}
{{- end }}
- name: config
  configMap:
    name: {{ include "feedloop.fullname" .root }}-config
    {{- if ne .name "ingest" }}
    items: [{key: labels.yaml, path: labels.yaml}] # the sources are for ingest alone
    {{- end }}
{{- if and (has .name (list "inference" "trainer")) (not .root.Values.model.hub) }}
- name: model
{{- if .root.Values.model.existingClaim }}
  persistentVolumeClaim: {claimName: {{ .root.Values.model.existingClaim }}, readOnly: true}
{{- else }}
  emptyDir: {}
{{- end }}
{{- end }}
{{- end }}

{{- define "feedloop.placement" -}}
{{- $values := index .root.Values.services .name -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
