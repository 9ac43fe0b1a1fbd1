package proxy

import (
	"fmt"
	"log/slog"

	"github.com/tulle-mesh/tulle/destination/api"
)

// levels are slog's.
var levels = map[api.Level]slog.Level{
	api.Level_LEVEL_DEBUG: slog.LevelDebug, api.Level_LEVEL_INFO: slog.LevelInfo,
	api.Level_LEVEL_WARN: slog.LevelWarn, api.Level_LEVEL_ERROR: slog.LevelError,
}

// configure takes what destination tells this proxy about itself; nil: nothing, and the environment
// counts. An error means that nothing of it was taken. Discovery calls it, never twice at once.
func (p *Proxy) configure(c *api.Config) error {
	level := p.cfg.LogLevel
	if c.GetLog() != nil {
		var known bool
		if level, known = levels[c.Log.Level]; !known {
			return fmt.Errorf("a log level (%d) that this proxy does not know", c.Log.Level)
		}
	}
	access, err := p.access.Hook(c.GetAccessLog())
	if err != nil {
		return err
	}
	traces, err := tracingSettings(c.GetTracing())
	if err != nil {
		return err
	}
	p.setLevel(level)
	p.watch(access, p.trace(traces))
	return nil
}

// setLevel sets the log level to another one than destination said last. The admin port sets it
// too: the last writer wins, so destination must not write again what it has written before.
func (p *Proxy) setLevel(level slog.Level) {
	if level == p.told {
		return
	}
	p.told = level
	p.level.Set(level)
	p.log.Info("log level changed by destination", "level", level)
}
