package anthropic

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// message is the API's answer. StopReason is null in the message_start event.
type message struct {
	ID           string  `json:"id"`
	Type         string  `json:"type"`
	Role         string  `json:"role"`
	Model        string  `json:"model"`
	Content      content `json:"content"`
	StopReason   *string `json:"stop_reason"`
	StopSequence *string `json:"stop_sequence"`
	Usage        usage   `json:"usage"`
}

type usage struct {
	InputTokens  int `json:"input_tokens"`
	OutputTokens int `json:"output_tokens"`
}

// chunk is the number of characters per delta. It is small so that even a short answer has
// several deltas, which the client must join.
const chunk = 12

// stream sends the message as the API's sequence of server-sent events.
func (m message) stream(w http.ResponseWriter, stop string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	blocks := m.Content
	m.Content = content{}
	send(w, "message_start", map[string]any{"message": m})
	for i, b := range blocks {
		sendBlock(w, i, b)
	}
	send(w, "message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": stop, "stop_sequence": nil},
		"usage": m.Usage,
	})
	send(w, "message_stop", nil)
}

// sendBlock sends an empty block, then its contents in chunks.
func sendBlock(w http.ResponseWriter, index int, b block) {
	kind, field, rest := "text_delta", "text", b.Text
	if b.Type == "tool_use" {
		// A map of strings cannot fail to marshal.
		input, _ := json.Marshal(b.Input)
		kind, field, rest = "input_json_delta", "partial_json", string(input)
	}
	b.Text, b.Input = "", map[string]any{}
	send(w, "content_block_start", map[string]any{"index": index, "content_block": b})
	send(w, "ping", nil)
	for runes := []rune(rest); len(runes) > 0; {
		n := min(chunk, len(runes))
		send(w, "content_block_delta", map[string]any{
			"index": index,
			"delta": map[string]string{"type": kind, field: string(runes[:n])},
		})
		runes = runes[n:]
	}
	send(w, "content_block_stop", map[string]any{"index": index})
}

// send writes one event. It ignores write errors: they mean that the client has
// disconnected.
func send(w http.ResponseWriter, event string, fields map[string]any) {
	data := map[string]any{"type": event}
	for k, v := range fields {
		data[k] = v
	}
	encoded, err := json.Marshal(data)
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, encoded)
	_ = http.NewResponseController(w).Flush()
}
