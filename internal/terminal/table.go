package terminal

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// Table returns lines with aligned columns. Lines are truncated to width columns of a
// terminal unless width is 0.
func Table(rows [][]string, width int) []string {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displaywidth.String(cell))
		}
	}
	var lines []string
	for _, row := range rows {
		var b strings.Builder
		for i, cell := range row {
			b.WriteString(cell)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-displaywidth.String(cell)+2))
			}
		}
		lines = append(lines, Cut(b.String(), width))
	}
	return lines
}

// Cut truncates text to width columns unless width is 0.
func Cut(text string, width int) string {
	if width <= 0 {
		return text
	}
	return displaywidth.TruncateString(text, width, "…")
}
