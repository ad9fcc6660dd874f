package conformance

var transportTests = []test{}
