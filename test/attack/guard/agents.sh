# The guest plants files that Claude Code and other agents of the host obey.
# Must: the user is told of each.
### claude
plant .claude/settings.json CLAUDE.md CLAUDE.local.md AGENTS.md GEMINI.md .mcp.json .cursor/x .cursorrules \
	.cursorignore .windsurfrules .codex/x .gemini/x
### host
reported .claude CLAUDE.md CLAUDE.local.md AGENTS.md GEMINI.md .mcp.json .cursor .cursorrules \
	.cursorignore .windsurfrules .codex .gemini
