package autoscaler

// What a primary's autoscaler is made from, for tests.
var (
	PrimarySpec = primarySpec
	RenameWord  = renameWord
	Rests       = Autoscalers.rests
)
