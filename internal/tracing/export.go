package tracing

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter posts spans to a collector. One that does not take them loses them: lookups do not wait for it.
type exporter struct {
	config Config
	client *http.Client
	log    *slog.Logger
	silent atomic.Bool // its failure is written down once, and once more after it worked again
}

func newExporter(config Config, log *slog.Logger) *exporter {
	return &exporter{config: config, client: &http.Client{Timeout: config.Timeout}, log: log}
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.post(ctx, spans)
	if err == nil {
		e.silent.Store(false)
	} else if !e.silent.Swap(true) {
		e.log.Warn("traces are lost: the collector does not take them", "reason", err)
	}
	return nil // the SDK would print it to standard error, each time
}

// Shutdown implements sdktrace.SpanExporter.
func (e *exporter) Shutdown(context.Context) error {
	e.client.CloseIdleConnections()
	return nil
}

func (e *exporter) post(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	raw, err := json.Marshal(messageOf(spans))
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, e.config.Endpoint, bytes.NewReader(raw))
	if err != nil {
		return err
	}
	for name, value := range e.config.Headers {
		request.Header.Set(name, value)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 64<<10))
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("the collector answered %s", response.Status)
	}
	return nil
}

// The shape of OTLP in JSON: names in lowerCamelCase, ids in hexadecimal, 64-bit numbers as text, enumerations as numbers.
// https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto
type (
	message struct {
		ResourceSpans []resourceSpans `json:"resourceSpans"`
	}
	resourceSpans struct {
		Resource   attributes   `json:"resource"`
		ScopeSpans []scopeSpans `json:"scopeSpans"`
	}
	attributes struct {
		Attributes []keyValue `json:"attributes,omitempty"`
	}
	scopeSpans struct {
		Scope scope  `json:"scope"`
		Spans []span `json:"spans"`
	}
	scope struct {
		Name string `json:"name"`
	}
	span struct {
		TraceID           string     `json:"traceId"`
		SpanID            string     `json:"spanId"`
		ParentSpanID      string     `json:"parentSpanId,omitempty"`
		TraceState        string     `json:"traceState,omitempty"`
		Flags             uint32     `json:"flags"`
		Name              string     `json:"name"`
		Kind              int        `json:"kind"`
		StartTimeUnixNano string     `json:"startTimeUnixNano"`
		EndTimeUnixNano   string     `json:"endTimeUnixNano"`
		Attributes        []keyValue `json:"attributes,omitempty"`
		Status            status     `json:"status"`
	}
	status struct {
		Message string `json:"message,omitempty"`
		Code    int    `json:"code,omitempty"`
	}
	keyValue struct {
		Key   string   `json:"key"`
		Value anyValue `json:"value"`
	}
	anyValue struct {
		StringValue *string `json:"stringValue,omitempty"`
		IntValue    *string `json:"intValue,omitempty"`
	}
)

// messageOf writes spans down. They share one resource and one scope, since one Tracer made them all.
func messageOf(spans []sdktrace.ReadOnlySpan) message {
	of := scopeSpans{Scope: scope{spans[0].InstrumentationScope().Name}}
	for _, s := range spans {
		one := span{
			TraceID: s.SpanContext().TraceID().String(), SpanID: s.SpanContext().SpanID().String(),
			TraceState: s.SpanContext().TraceState().String(), Flags: uint32(s.SpanContext().TraceFlags()),
			Name: s.Name(), Kind: int(s.SpanKind()), // the SDK's numbers are the protocol's
			StartTimeUnixNano: nanoseconds(s.StartTime()), EndTimeUnixNano: nanoseconds(s.EndTime()),
			Attributes: keyValues(s.Attributes()),
		}
		if s.Parent().HasSpanID() {
			one.ParentSpanID = s.Parent().SpanID().String()
		}
		if s.Status().Code == codes.Error {
			one.Status = status{Message: s.Status().Description, Code: 2} // STATUS_CODE_ERROR
		}
		of.Spans = append(of.Spans, one)
	}
	return message{[]resourceSpans{{
		Resource: attributes{keyValues(spans[0].Resource().Attributes())}, ScopeSpans: []scopeSpans{of},
	}}}
}

func nanoseconds(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 10) }

// keyValues writes attributes down. Ours are texts and whole numbers; what else a resource may have becomes text.
func keyValues(from []attribute.KeyValue) []keyValue {
	var to []keyValue
	for _, kv := range from {
		text := kv.Value.String()
		value := anyValue{StringValue: &text}
		if kv.Value.Type() == attribute.INT64 {
			value = anyValue{IntValue: &text}
		}
		to = append(to, keyValue{string(kv.Key), value})
	}
	return to
}
