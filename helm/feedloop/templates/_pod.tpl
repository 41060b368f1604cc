{{/* The pod template of a service: dict root, name. The engine's containers come with inference. */}}
{{- define "feedloop.pod" -}}
metadata:
  labels:
    {{- include "feedloop.labels" . | nindent 4 }}
  annotations:
    checksum/config: {{ printf "%s\n%s" .root.Values.labelSets (ternary (toYaml .root.Values.config) "" (eq .name "ingest")) | sha256sum }}
spec:
  automountServiceAccountToken: false
  enableServiceLinks: false # or Kubernetes sets names of the form RELEASE_INGEST_PORT, which settings could take for theirs
  terminationGracePeriodSeconds: 60
  securityContext:
    {{- include "feedloop.podSecurity" . | nindent 4 }}
  {{- with include "feedloop.placement" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- if has .name (list "inference" "trainer") }}
  {{- include "feedloop.modelInit" . | nindent 2 }}
  {{- end }}
  containers:
    {{- include "feedloop.container" . | nindent 4 }}
    {{- if and (eq .name "inference") .root.Values.engine.enabled }}
    {{- include "feedloop.engine" . | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "feedloop.volumes" . | nindent 4 }}
    {{- if and (eq .name "inference") .root.Values.engine.enabled }}
    - name: engine-tmp
      emptyDir: {}
    - name: shm
      emptyDir: {medium: Memory, sizeLimit: {{ .root.Values.engine.sharedMemory }}}
    {{- if .root.Values.engine.metrics }}
    - name: relay
      configMap: {name: {{ include "feedloop.fullname" .root }}-relay}
    {{- end }}
    {{- end }}
{{- end }}
