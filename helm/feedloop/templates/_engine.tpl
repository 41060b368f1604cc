{{/* vLLM on the pod's loopback: its adapter routes ask for no key. So its probes run inside the container, and a relay passes its metrics on. */}}
{{- define "feedloop.engine" -}}
{{- $engine := .root.Values.engine -}}
- name: engine
  image: {{ $engine.image | quote }}
  imagePullPolicy: {{ $engine.pullPolicy }}
  command: [python3, -m, vllm.entrypoints.openai.api_server]
  args:
    - --host=127.0.0.1
    - --port=8000
    - --model={{ include "feedloop.model" . }}
    - --served-model-name=base
    - --max-model-len={{ int .root.Values.model.maxLength }}
    - --enable-lora
    - --max-lora-rank=16
    - --max-loras=4
    - --max-cpu-loras=8
    - '--structured-outputs-config={"backend":"xgrammar","disable_any_whitespace":true}'
    {{- range $engine.extraArgs }}
    - {{ . | quote }}
    {{- end }}
  env:
    - {name: VLLM_ALLOW_RUNTIME_LORA_UPDATING, value: "True"}
    - {name: VLLM_NO_USAGE_STATS, value: "1"}
    - {name: HF_HUB_OFFLINE, value: {{ ternary "0" "1" (ne .root.Values.model.hub "") | quote }}}
    - {name: HOME, value: /tmp}
    - {name: USER, value: feedloop} # the uid has no entry in the image's passwd, and torch asks for the name
    - {name: VLLM_CACHE_ROOT, value: /tmp/vllm}
    - {name: TORCHINDUCTOR_CACHE_DIR, value: /tmp/inductor}
    - {name: TRITON_CACHE_DIR, value: /tmp/triton}
    {{- range $key, $value := $engine.extraEnv }}
    - {name: {{ $key }}, value: {{ $value | quote }}}
    {{- end }}
  startupProbe:
    exec: {command: [python3, -c, "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=4)"]}
    periodSeconds: 10
    timeoutSeconds: 5
    failureThreshold: {{ max 1 (div (int $engine.startupSeconds) 10) }}
  livenessProbe:
    exec: {command: [python3, -c, "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=9)"]}
    periodSeconds: 30
    timeoutSeconds: 10
  resources:
    {{- toYaml $engine.resources | nindent 4 }}
  securityContext:
    {{- include "feedloop.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: engine-tmp, mountPath: /tmp}
    - {name: shm, mountPath: /dev/shm}
    - {name: models, mountPath: /var/cache/feedloop, readOnly: true} # the adapters, at the path that inference names
    {{- if not .root.Values.model.hub }}
    - {name: model, mountPath: /models/base, readOnly: true}
    {{- end }}
{{- if $engine.metrics }}
- name: engine-metrics
  image: {{ include "feedloop.image" . | quote }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  command: [python, /relay/engine_metrics.py]
  ports:
    - {name: engine-metrics, containerPort: 8001}
  resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 64Mi}}
  securityContext:
    {{- include "feedloop.containerSecurity" . | nindent 4 }}
  volumeMounts:
    - {name: relay, mountPath: /relay, readOnly: true}
{{- end }}
{{- end }}
