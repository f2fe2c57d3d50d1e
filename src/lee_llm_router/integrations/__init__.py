"""What joins the router to other libraries; a module for each of them."""
