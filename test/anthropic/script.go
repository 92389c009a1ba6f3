package anthropic

import (
	"path"
	"regexp"
	"strconv"
	"strings"
)

// The first line of the prompt in one of these forms decides on the answer:
//
//	create FILE: CONTENT   writes FILE, then says "created FILE"
//	run: COMMAND           runs COMMAND in a shell, then says what it printed
//	say: TEXT              says TEXT
//	fail: STATUS           answers with this HTTP status
//
// To anything else the answer is "ok".
var directive = regexp.MustCompile(`(?m)^[ \t]*(?:(create) +([^:\n]+)|(run|say|fail)):[ \t]*(.*?)[ \t\r]*$`)

// reply is one text, one tool use or one error.
type reply struct {
	text   string
	tool   string
	input  map[string]any
	status int
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

// reply plays the model's next step.
func (c call) reply() reply {
	// The client asks for a title of the session beside the conversation and
	// quotes the prompt in that request, which must not run it once more.
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
	}
	if result, ok := toolResult(after); ok {
		return conclude(verb, file, result)
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

// create asks for the file with exactly this content. Write takes an absolute
// path only, hence the shell where the working directory is not known.
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
		"description": "Run the command of the prompt",
	}}
}

// conclude says what came of the tool use.
func conclude(verb, file string, result block) reply {
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
