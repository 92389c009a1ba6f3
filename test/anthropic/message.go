package anthropic

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// call has the parts of a message request that determine the reply.
type call struct {
	Model        string  `json:"model"`
	Stream       bool    `json:"stream"`
	System       content `json:"system"`
	Messages     []turn  `json:"messages"`
	Tools        []tool  `json:"tools"`
	OutputConfig struct {
		Format *struct {
			Type string `json:"type"`
		} `json:"format"`
	} `json:"output_config"`
}

type turn struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

type tool struct {
	Name string `json:"name"`
}

// content is a list of blocks. The API also accepts a string in place of one text block.
type content []block

type block struct {
	Type string `json:"type"`
	Text string `json:"text"`

	// Fields of a tool_use.
	ID    string         `json:"id"`
	Name  string         `json:"name"`
	Input map[string]any `json:"input"`

	// Fields of a tool_result.
	ToolUseID string  `json:"tool_use_id"`
	Content   content `json:"content"`
	IsError   bool    `json:"is_error"`
}

// UnmarshalJSON accepts both forms of content.
func (c *content) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*c = content{{Type: "text", Text: text}}
		return nil
	}
	return json.Unmarshal(data, (*[]block)(c))
}

// MarshalJSON writes only the fields of the block's type: a text block must have a text
// field even if it is empty, and a tool_use must not have one.
func (b block) MarshalJSON() ([]byte, error) {
	if b.Type == "tool_use" {
		return json.Marshal(map[string]any{"type": b.Type, "id": b.ID, "name": b.Name, "input": b.Input})
	}
	return json.Marshal(map[string]any{"type": b.Type, "text": b.Text})
}

// text returns the text blocks, joined with newlines.
func (c content) text() string {
	var texts []string
	for _, b := range c {
		if b.Type == "text" {
			texts = append(texts, b.Text)
		}
	}
	return strings.Join(texts, "\n")
}

// reminder matches the client's messages to the model in user turns.
var reminder = regexp.MustCompile(`(?s)<system-reminder>.*?</system-reminder>`)

// prompt returns the last text from the user and the turns after it.
func (c call) prompt() (string, []turn) {
	for i, t := range slices.Backward(c.Messages) {
		if t.Role != "user" {
			continue
		}
		text := strings.TrimSpace(reminder.ReplaceAllString(t.Content.text(), ""))
		if text != "" {
			return text, c.Messages[i+1:]
		}
	}
	return "", nil
}

// toolResult returns the result of the last tool use in turns, if there is one.
func toolResult(turns []turn) (block, bool) {
	var id string
	var result block
	for _, t := range turns {
		for _, b := range t.Content {
			switch {
			case b.Type == "tool_use":
				id, result = b.ID, block{}
			case b.Type == "tool_result" && b.ToolUseID == id:
				result = b
			}
		}
	}
	return result, result.Type != ""
}

func (c call) hasTool(name string) bool {
	return slices.Contains(c.Tools, tool{Name: name})
}

var workingDirectory = regexp.MustCompile(`(?i)working directory: *(/[^\n]*)`)

// workingDirectory returns the client's working directory, or "" if it is unknown. The
// client describes it in the system prompt or, depending on its version, in a reminder.
func (c call) workingDirectory() string {
	texts := []string{c.System.text()}
	for _, t := range c.Messages {
		texts = append(texts, t.Content.text())
	}
	for _, text := range texts {
		if m := workingDirectory.FindStringSubmatch(text); m != nil {
			return strings.TrimSpace(m[1])
		}
	}
	return ""
}
