package api

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Understood refuses a message with a field that this build does not know. It is for messages that
// decide who or what is admitted, where a field that is overlooked would admit too much.
func Understood(m proto.Message) error {
	if r := m.ProtoReflect(); len(r.GetUnknown()) > 0 {
		return fmt.Errorf("%s has a field that this proxy does not know", r.Descriptor().Name())
	}
	return nil
}
