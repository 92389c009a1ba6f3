package main

import "testing"

// TestFindToken reads what Claude Code 2.1.330 writes to a terminal of 44 and of 120 columns.
func TestFindToken(t *testing.T) {
	const token = "sk-ant-oat01-A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_A1b2-C3d4_Zz1AA"
	const before = "\x1b[2G\x1b[38;5;114m\xe2\x9c\x94\x1b[4GLong-lived\x1b[15Gauthentication\x1b[30Gtoken\x1b[36Gcreated\x1b[39m\r\r\n\r\r\n" +
		"\x1b[2GYour\x1b[7GOAuth\x1b[13Gtoken\x1b[19G(valid\x1b[26Gfor\x1b[30G1\x1b[32Gyear):\r\r\n\r\r\n"
	const after = "\r\r\n\x1b[2G\x1b[38;5;246mStore\x1b[8Gthis\x1b[13Gtoken\x1b[19Gsecurely.\x1b[39m\r\r\n"
	const export = "\x1b[2G\x1b[38;5;246mCLAUDE_CODE_OAUTH_TOKEN=<token>\x1b[39m\r\r\n\x1b]0;sk-ant-oat01-title\x07\x1b[(B\x1bO"
	line := func(text string) string { return "\x1b[2G\x1b[38;5;220m" + text + "\x1b[39m\r\r\n" }
	for name, c := range map[string]struct{ screen, want string }{
		"one line":      {before + line(token) + after + export, token},
		"three lines":   {before + line(token[:43]) + line(token[43:86]) + line(token[86:]) + after + export, token},
		"full lines":    {before + line(token[:54]) + line(token[54:]) + after, token},
		"a second one":  {before + line(token) + after + before + line(token[:70]+"x") + after, token[:70] + "x"},
		"canceled":      {before + export, ""},
		"too short":     {line("sk-ant-oat01-abc") + after, ""},
		"text below it": {line(token) + "\x1b[2GStore this\r\n", token},
	} {
		t.Run(name, func(t *testing.T) {
			if got := findToken([]byte(c.screen)); got != c.want {
				t.Errorf("findToken() = %q, want %q", got, c.want)
			}
		})
	}
}
