package vm

import "strings"

// StandardAPI is the URL of the API of Claude Code, unless ANTHROPIC_BASE_URL is set.
const StandardAPI = "https://api.anthropic.com"

// placeholder and its end have the form of an API key, which Claude Code checks.
const (
	placeholder    = "sk-ant-claude-vm-"
	placeholderEnd = "-stays-on-the-host"
)

// Placeholder is the value that the guest has in place of a secret that stays on the host.
func Placeholder(name string) string {
	return placeholder + strings.ReplaceAll(name, "_", "-") + placeholderEnd
}

// PlaceholderName returns the name of the secret that a placeholder stands for.
func PlaceholderName(value string) (name string, ok bool) {
	name, start := strings.CutPrefix(value, placeholder)
	name, end := strings.CutSuffix(name, placeholderEnd)
	return strings.ReplaceAll(name, "-", "_"), start && end
}
