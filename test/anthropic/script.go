package anthropic

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// The first line of the prompt that has one of these forms determines the answer:
//
//	create FILE: CONTENT   write FILE, then answer "created FILE"
//	run: COMMAND           run COMMAND in a shell, then answer with its output
//	say: TEXT              answer with TEXT
//	fail: STATUS           answer with this HTTP status
//	retry: TEXT            answer the first request with status 529, overloaded, the next with TEXT
//
// The answer to any other prompt is "ok".
var directive = regexp.MustCompile(`(?m)^[ \t]*(?:(create) +([^:\n]+)|(run|say|fail|retry)):[ \t]*(.*?)[ \t\r]*$`)

// reply is one text, one tool use or one error.
type reply struct {
	text   string
	tool   string
	input  map[string]any
	status int
	// once means that the status is for the first request with this prompt.
	once bool
}

func (r reply) block(id string) block {
	if r.tool == "" {
		return block{Type: "text", Text: r.text}
	}
	return block{Type: "tool_use", ID: id, Name: r.tool, Input: r.input}
}

func (r reply) stopReason() string {
	if r.tool == "" {
		return "end_turn"
	}
	return "tool_use"
}

// reply returns the next reply of the model.
func (c call) reply() reply {
	// The client also sends a request for a title of the session, which quotes the
	// prompt. The directive must not be executed a second time.
	if c.OutputConfig.Format != nil {
		return reply{text: `{"title": "Test session"}`}
	}
	prompt, after := c.prompt()
	m := directive.FindStringSubmatch(prompt)
	if m == nil {
		return reply{text: "ok"}
	}
	verb, file, rest := m[1]+m[3], m[2], m[4]
	switch verb {
	case "say":
		return reply{text: rest}
	case "fail":
		return fail(rest)
	case "retry":
		return reply{text: rest, status: 529, once: true}
	}
	if result, ok := toolResult(after); ok {
		return afterResult(verb, file, result)
	}
	if verb == "create" {
		return c.create(file, rest)
	}
	return c.run(rest)
}

func fail(text string) reply {
	status, err := strconv.Atoi(text)
	if err != nil || status < 400 || status > 599 {
		return reply{text: "not an error status: " + text}
	}
	return reply{status: status}
}

// create requests a file with exactly this content. The Write tool accepts only absolute
// paths, so create uses the shell if the working directory is unknown.
func (c call) create(file, text string) reply {
	name := file
	if !path.IsAbs(name) {
		if dir := c.workingDirectory(); dir != "" {
			name = path.Join(dir, name)
		}
	}
	if c.hasTool("Write") && path.IsAbs(name) {
		return reply{tool: "Write", input: map[string]any{"file_path": name, "content": text}}
	}
	return c.run("printf %s " + quote(text) + " >" + quote(file))
}

func (c call) run(command string) reply {
	if !c.hasTool("Bash") {
		return reply{text: "no tool for this"}
	}
	return reply{tool: "Bash", input: map[string]any{
		"command":     command,
		"timeout":     600000, // milliseconds, the maximum of the tool: machines differ
		"description": "Run the command of the prompt",
	}}
}

// afterResult returns the reply to the result of a tool use.
func afterResult(verb, file string, result block) reply {
	output := result.Content.text()
	switch {
	case verb == "run":
		return reply{text: output}
	case result.IsError:
		return reply{text: "cannot create " + file + ": " + output}
	}
	return reply{text: "created " + file}
}

func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
