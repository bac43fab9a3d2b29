# ipc-backbone, "Notification Message": publishing on a custom topic. Corrections:
# 1. The variable is called pub_socket where the page calls it socket further down.
# 2. The page leaves ipc_pub_url open: asked for as in "Writing to the Backbone directly", with the port of the Remote
#    from the environment.
# 3. The page does not wait: as "Writing to the Backbone directly" says, a PUB socket needs a moment to connect.
# pyright: reportCallIssue=false, reportArgumentType=false
import os
import zmq
import msgpack
from time import sleep

ctx = zmq.Context()
requester = ctx.socket(zmq.REQ)
requester.connect('tcp://localhost:%s'%os.environ['LABWIRE_PORT'])
requester.send_string('PUB_PORT')
ipc_pub_url = 'tcp://localhost:%s'%requester.recv_string()

topic = 'your_custom_topic'
payload = {'topic': topic}

# create and connect PUB socket to IPC
pub_socket = zmq.Socket(zmq.Context(), zmq.PUB)
pub_socket.connect(ipc_pub_url)
sleep(1)

# send payload using custom topic
pub_socket.send_string(topic, flags=zmq.SNDMORE)
pub_socket.send(msgpack.dumps(payload, use_bin_type=True))
