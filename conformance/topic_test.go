package conformance

var topicTests = []test{}
